package oauth

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// Limits of the device data that is stored.
const (
	maxDeviceName = 100
	maxUserAgent  = 256
)

// exchangeRequest is a token exchange that has been allowed but not carried
// out.
type exchangeRequest struct {
	subject    *Subject
	scope      []string
	targets    []string
	deviceName string
	issuedType string
	demand     session.Demand
	proofs     session.Proofs   // what the factors prove, by the tenant's rules
	stated     session.Proof    // the one of them that the access token states
	failed     map[string]error // rules that failed, by acr
	stepUp     *stepUpSession   // the session to step up; nil: the exchange opens a session
}

// exchange is the grant that exchanges a client token for a session (RFC 8693).
// With a session token as subject_token, it issues an access token of that
// session. With latchkey_session_token, it steps up the session of that token.
func (s *Server) exchange(ctx context.Context, call *Call, c *Client, form url.Values) (issue, error) {
	x, err := s.readExchange(c, form)
	if err != nil {
		return nil, err
	}
	token, tokenType := form.Get("subject_token"), form.Get("subject_token_type")
	if tokenType == tokenTypeSession {
		return s.exchangeSessionToken(ctx, call, c, x, token, form)
	}
	call.checks = &recorder{}
	_ = call.checks.step(nil, func() []Check { return one(CheckGrant, "", c.ID) })
	ctx = context.WithValue(ctx, recorderKey{}, call.checks)
	named := form.Get("latchkey_session_token")
	if named != "" && x.issuedType != tokenTypeSession {
		again, err := s.findRepetition(ctx, c, x, form)
		if err != nil {
			return nil, err
		}
		if again {
			return func(ctx context.Context) (tokenResponse, error) { return s.repeatStepUp(ctx, call, c, x) }, nil
		}
	}
	if err := s.checkSubject(ctx, c, x, token, tokenType); err != nil {
		return nil, err
	}
	if named != "" {
		if err := s.checkStepUp(ctx, c, x, named, form); err != nil {
			return nil, err
		}
		return func(ctx context.Context) (tokenResponse, error) { return s.issueSteppedUp(ctx, call, c, x) }, nil
	}
	if err := s.checkGranted(ctx, c, x, form); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (tokenResponse, error) { return s.openSession(ctx, call, c, x) }, nil
}

// checkSubject verifies the client token, and evaluates the client's rule about it.
func (s *Server) checkSubject(ctx context.Context, c *Client, x *exchangeRequest, token, tokenType string) (err error) {
	if x.subject, err = s.verifySubject(ctx, c, token, tokenType); err != nil {
		return err
	}
	return recorderOf(ctx).step(s.checkPolicy(ctx, c, x.subject), func() []Check { return one(CheckAllow, c.Settings.Allow, "") })
}

// checkGranted decides the targets, the scope and the assurance of a new session.
func (s *Server) checkGranted(ctx context.Context, c *Client, x *exchangeRequest, form url.Values) (err error) {
	rec := recorderOf(ctx)
	x.targets, err = grantTargets(c, form)
	if err := rec.step(err, func() []Check { return one(CheckTargets, "", strings.Join(x.targets, " ")) }); err != nil {
		return err
	}
	x.scope, err = grantScope(c, form.Get("scope"))
	if err := rec.step(err, func() []Check {
		return one(CheckScope, strings.Join(c.Settings.Scopes, " "), strings.Join(x.scope, " "))
	}); err != nil {
		return err
	}
	return rec.step(x.assure(c, x.subject.factors, s.now()), func() []Check { return one(CheckAssurance, "", x.stated.ACR) })
}

// readExchange checks the parameters of an exchange that do not depend on
// others.
func (s *Server) readExchange(c *Client, form url.Values) (*exchangeRequest, error) {
	if form.Has("actor_token") || form.Has("actor_token_type") {
		return nil, invalidRequest(ReasonParameterUnsupported, "actor_token and actor_token_type are not supported")
	}
	token, tokenType := form.Get("subject_token"), form.Get("subject_token_type")
	switch {
	case token == "" || tokenType == "":
		return nil, invalidRequest(ReasonParameterMissing, "subject_token and subject_token_type are required")
	case subjectTypes[tokenType] == "" && tokenType != tokenTypeSession:
		expected := strings.Join(slices.Sorted(maps.Keys(subjectTypes)), " or ") + " or " + tokenTypeSession
		return nil, invalidRequest(ReasonParameterUnsupported, "subject_token_type is not supported: expected "+expected).compare(expected, tokenType)
	}
	x := &exchangeRequest{issuedType: tokenTypeAccess, deviceName: form.Get("latchkey_device_name")}
	switch requested := form.Get("requested_token_type"); requested {
	case "", tokenTypeAccess:
	case TokenTypeJWT:
		x.issuedType = TokenTypeJWT
	case tokenTypeSession:
		if x.issuedType = tokenTypeSession; !c.Settings.SessionToken {
			return nil, invalidRequest(ReasonClientNotAllowed, "The client may not receive session tokens; set session_token in its configuration")
		}
	default:
		const expected = tokenTypeAccess + " or " + tokenTypeSession
		return nil, invalidRequest(ReasonParameterUnsupported, "requested_token_type is not supported: expected "+expected).compare(expected, requested)
	}
	if utf8.RuneCountInString(x.deviceName) > maxDeviceName {
		return nil, invalidRequest(ReasonParameterInvalid, "latchkey_device_name must be at most 100 characters")
	}
	var err error
	if x.demand, err = readDemand(form); err != nil {
		return nil, err
	}
	return x, nil
}

// checkPolicy evaluates the client's `allow` rule over the token, the client,
// and the user as the exchange would leave it. Only the result true allows the
// exchange; an error rejects it.
func (s *Server) checkPolicy(ctx context.Context, c *Client, subject *Subject) error {
	if c.allow == nil {
		return nil
	}
	user, err := s.store.User(ctx, c.TenantID, subject.sub)
	if err != nil && !errors.Is(err, models.ErrNotFound) {
		return err
	}
	after, _ := user.After(subject.mapped())
	verdict, err := c.allow.Evaluate(map[string]any{
		"token":  subject.claims,
		"client": map[string]any{"id": c.ID, "name": c.Settings.Name, "public": c.Settings.Public()},
		"user":   userVariable(subject.sub, c.tenant.activeAttributes(after.Values, after.Sources)),
	})
	if verdict != true {
		return badSubject(ReasonPolicyDenied, "the allow rule of the client denies it").withCause(err)
	}
	return nil
}

// openSession carries out an exchange in one transaction. The access token is
// signed before the transaction commits.
func (s *Server) openSession(ctx context.Context, call *Call, client *Client, x *exchangeRequest) (tokenResponse, error) {
	release, err := s.tokenSlots.acquire(ctx)
	if err != nil {
		return tokenResponse{}, err
	}
	defer release()
	now := s.now()
	n, refresh, sessionHandle := s.newSession(now, call, client, x)
	suspensions, err := s.store.SuspensionKey(ctx, s.keys)
	if err != nil {
		return tokenResponse{}, err
	}
	n.UserDigest = suspensions.UserDigest(client.TenantID, x.subject.sub)
	var access minted
	_, err = s.store.CreateSession(ctx, n, func(created *models.Session) error {
		if x.issuedType == tokenTypeSession {
			return nil
		}
		access, err = s.mintSession(client, created, x.stated, created.Audience, created.Scope, now)
		return err
	})
	if err != nil {
		return tokenResponse{}, call.checks.step(s.refuseExchange(ctx, client, x, now, err), func() []Check { return sessionChecks(client, x) })
	}
	call.SessionID = n.ID.String()
	s.reportClaims(ctx, &n.Session, now, access.leftOut)
	s.reportAttributes(ctx, &n.Session, now, x.subject.tooLong)
	s.reportRules(ctx, &n.Session, now, x.failed)
	answer := access.response(x.scope)
	answer.IssuedTokenType = x.issuedType
	answer.setSession(client, &n.Session, n.Refresh.Generation)
	if client.Settings.HasGrant(settings.GrantRefresh) {
		answer.RefreshToken = s.keys.Encode(client.TenantID, refresh)
	}
	if client.Settings.SessionToken {
		answer.SessionToken = s.keys.Encode(client.TenantID, sessionHandle)
	}
	if x.issuedType == tokenTypeSession {
		// RFC 8693 §2.2.1: access_token contains the requested token, whatever
		// its type.
		answer.AccessToken, answer.TokenType, answer.SessionToken = answer.SessionToken, "N_A", ""
		answer.ExpiresIn = int64(n.Lifetime().Expiry().Sub(now) / time.Second)
	}
	return answer, nil
}

// newSession returns the session to create and the handles to return. A client
// without the refresh grant gets a session that expires with its access token.
func (s *Server) newSession(now time.Time, call *Call, c *Client, x *exchangeRequest) (n models.NewSession, refresh, sessionHandle keys.Handle) {
	absolute, idle := c.newExpiries(now)
	id := models.NewSessionID()
	n = models.NewSession{
		Session: models.Session{
			ID: id, TenantID: c.TenantID, ClientID: c.ID, IssuerID: x.subject.entry.ID, Subject: x.subject.sub,
			CreatedAt: now, AuthTime: x.subject.authTime, LastActiveAt: now,
			AbsoluteExpiry: absolute, IdleExpiry: idle,
			Factors: x.subject.factors, Attributes: x.subject.sessionAttributes,
			Scope: x.scope, Audience: x.targets,
		},
		Mapped:     x.subject.mapped(),
		Token:      x.subject.spent,
		Upstream:   x.subject.upstream,
		CreateUser: x.subject.entry.Settings.CreateUsers == nil || *x.subject.entry.Settings.CreateUsers,
		Cap:        c.Settings.MaxSessionsPerUser, OnStatusList: c.Settings.StatusList,
		RecordCreation: x.proofDetails(call),
	}
	if x.subject.upstream != nil {
		n.UpstreamSID = x.subject.upstream.SID
	}
	c.tenant.storeDecision(&n.Session, now, x.proofs)
	if call.Tenant.row.StoreDevice {
		n.DeviceName = x.deviceName
	}
	n.UserAgent, n.IP = call.device()
	if c.Settings.HasGrant(settings.GrantRefresh) {
		refresh = s.keys.NewHandle(keys.RefreshToken, id)
		n.Refresh = s.keys.Chain(c.TenantID, refresh)
	}
	if c.Settings.SessionToken {
		sessionHandle = s.keys.NewHandle(keys.SessionToken, id)
		n.SessionToken = s.keys.Chain(c.TenantID, sessionHandle)
	}
	return n, refresh, sessionHandle
}

// refuseExchange maps an error of the transaction to a refusal. It records the
// replay of a client token; the session that the token opened is not affected.
func (s *Server) refuseExchange(ctx context.Context, c *Client, x *exchangeRequest, now time.Time, err error) error {
	if errors.Is(err, models.ErrTokenSpent) {
		recorded := s.store.NoteReplay(ctx, x.subject.spent, models.Event{
			At: now, TenantID: c.TenantID, Type: models.EventClientTokenReplayed, ClientID: c.ID,
			IssuerID: x.subject.entry.ID, Subject: x.subject.sub,
			Details: map[string]any{"iss": x.subject.entry.Settings.Issuer, "jti_digest": hexDigest(x.subject.spent.Digest)},
		})
		if recorded != nil {
			return recorded
		}
	}
	return exchangeRefusal(err)
}

// exchangeRefusal returns the refusal for an error of the transaction.
func exchangeRefusal(err error) error {
	var revoked *models.RevokedTokenError
	switch {
	case errors.As(err, &revoked):
		return badSubject(ReasonSubjectTokenRevoked, "it was issued before the user was signed out everywhere; sign the user in again").
			compare("iat after "+timestamp(revoked.After), timestamp(revoked.IssuedAt))
	case errors.Is(err, models.ErrTokenSpent):
		return badSubject(ReasonSubjectTokenSpent, "it has already been used; obtain a new client token for each exchange")
	case errors.Is(err, models.ErrTokenBeforeRestore):
		return badSubject(ReasonSubjectTokenRestored, "it was issued before the database was restored from a backup; sign the user in again").withCause(err)
	case errors.Is(err, models.ErrUserDisabled):
		return badSubject(ReasonUserDisabled, "the user is disabled").withCause(err)
	case errors.Is(err, models.ErrUserUnknown):
		return badSubject(ReasonUserUnknown, "the user is unknown, and create_users of the trusted issuer is false").withCause(err)
	case errors.Is(err, models.ErrNotPermitted):
		return badSubject(ReasonSignInDisabled, "the trusted issuer, the client or the tenant is disabled").withCause(err)
	case errors.Is(err, models.ErrSessionLimit):
		return invalidRequest(ReasonSessionLimit, "The user already has as many sessions as max_sessions_per_user of the client allows; end one first")
	case errors.Is(err, models.ErrTooLarge):
		return badSubject(ReasonSubjectTokenMapping, "an attribute mapped from it is larger than 4 KiB").withCause(err)
	default:
		return err
	}
}

// TrimUserAgent returns a User-Agent header as valid UTF-8 of bounded length,
// without NUL characters.
func TrimUserAgent(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
	if len(s) <= maxUserAgent {
		return s
	}
	return strings.ToValidUTF8(s[:maxUserAgent], "")
}
