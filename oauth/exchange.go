package oauth

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ory/fosite"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// Limits of what is kept about a device.
const (
	maxDeviceName = 100
	maxUserAgent  = 256
)

// tokenExchange is the grant that turns a client token into a session
// (RFC 8693; DESIGN §3). It implements fosite.TokenEndpointHandler.
type tokenExchange struct{ *Server }

// exchange is one exchange request, decided but not yet carried out.
type exchange struct {
	subject    *Subject
	scope      []string
	targets    []string
	deviceName string
	issuedType string
	demand     session.Demand
	proofs     session.Proofs   // what is proved, by the tenant's rules
	pair       session.Proof    // of those, what the access token states
	failed     map[string]error // rules that could not be decided
	swap       *swap            // of a session token, instead of a client token
	raise      *raising         // the session that the client token raises
}

// CanHandleTokenEndpointRequest implements fosite.TokenEndpointHandler.
func (*tokenExchange) CanHandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) bool {
	return isGrant(request, grantTokenExchange)
}

// CanSkipClientAuth implements fosite.TokenEndpointHandler.
func (*tokenExchange) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// HandleTokenEndpointRequest asks everything that can refuse. It writes nothing.
func (t *tokenExchange) HandleTokenEndpointRequest(ctx context.Context, request fosite.AccessRequester) error {
	state, client := stateOf(request)
	form := request.GetRequestForm()
	if form.Has("actor_token") || form.Has("actor_token_type") {
		return invalidRequest(ReasonParameterUnsupported, "actor_token: delegation is not supported")
	}
	token, tokenType := form.Get("subject_token"), form.Get("subject_token_type")
	switch {
	case token == "" || tokenType == "":
		return invalidRequest(ReasonParameterMissing, "subject_token and subject_token_type are required")
	case subjectTypes[tokenType] == "" && tokenType != tokenTypeSession:
		return invalidRequest(ReasonParameterUnsupported, "This subject_token_type is not supported").compare(strings.Join(slices.Sorted(maps.Keys(subjectTypes)), " or ")+" or "+tokenTypeSession, tokenType)
	}
	x := &exchange{issuedType: tokenTypeAccess, deviceName: form.Get("latchkey_device_name")}
	switch requested := form.Get("requested_token_type"); requested {
	case "", tokenTypeAccess:
	case tokenTypeJWT:
		x.issuedType = tokenTypeJWT
	case tokenTypeSession:
		if x.issuedType = tokenTypeSession; !client.Settings.SessionToken {
			return invalidRequest(ReasonClientNotAllowed, "The client gets no session tokens: set session_token")
		}
	default:
		return invalidRequest(ReasonParameterUnsupported, "This requested_token_type is not supported").compare(tokenTypeAccess+" or "+tokenTypeSession, requested)
	}
	if utf8.RuneCountInString(x.deviceName) > maxDeviceName {
		return invalidRequest(ReasonParameterInvalid, "latchkey_device_name is longer than 100 characters")
	}
	var err error
	if x.demand, err = readDemand(form); err != nil {
		return err
	}
	if tokenType == tokenTypeSession {
		state.exchange = x
		return t.askSwap(ctx, client, x, token, form)
	}
	if form.Has("latchkey_session_token") && x.issuedType != tokenTypeSession {
		if again, err := t.repetition(ctx, client, x, form); err != nil {
			return err
		} else if again {
			state.exchange = x
			return nil
		}
	}
	if x.subject, err = t.verifySubject(ctx, client, token, tokenType); err != nil {
		return err
	}
	if err := t.askPolicy(ctx, client, x.subject); err != nil {
		return err
	}
	if text := form.Get("latchkey_session_token"); text != "" {
		if x.issuedType == tokenTypeSession {
			return invalidRequest(ReasonParameterUnsupported, "requested_token_type must be an access token: a step-up yields nothing else")
		}
		if x.raise, err = t.readRaised(ctx, client, text); err != nil {
			return err
		}
		x.raise.clientToken = digestOfClientToken(token)
		state.exchange = x
		return t.askRaise(ctx, client, x, form)
	}
	if x.targets, err = grantTargets(client, form); err != nil {
		return err
	}
	if x.scope, err = grantScope(client, form.Get("scope")); err != nil {
		return err
	}
	if err := x.assure(client, x.subject.factors, t.now()); err != nil {
		return err
	}
	state.exchange = x
	return nil
}

// askPolicy evaluates the client's `allow` rule over the token, the client and
// the user as the token leaves them. Only true passes; an error refuses.
func (t *tokenExchange) askPolicy(ctx context.Context, c *Client, s *Subject) error {
	if c.allow == nil {
		return nil
	}
	user, err := t.store.User(ctx, c.TenantID, s.sub)
	if err != nil && !errors.Is(err, models.ErrNotFound) {
		return err
	}
	after, _ := user.After(s.mapped())
	verdict, err := c.allow.evaluate(map[string]any{
		"token":  s.claims,
		"client": map[string]any{"id": c.ID, "name": c.Settings.Name, "public": c.IsPublic()},
		"user":   userVariable(s.sub, c.tenant.counting(after.Values, after.Sources)),
	})
	if verdict != true {
		return badSubject(ReasonPolicyDenied, "the allow rule of the client does not allow it").because(err)
	}
	return nil
}

// PopulateTokenEndpointResponse carries the exchange out: one transaction, in
// which the access token is signed before it commits.
func (t *tokenExchange) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, responder fosite.AccessResponder) error {
	state, client := stateOf(request)
	x := state.exchange
	if x == nil {
		return fosite.ErrUnknownRequest
	}
	switch {
	case x.swap != nil:
		return t.carryOutSwap(ctx, state, client, x, responder)
	case x.raise != nil && x.raise.row != nil:
		return t.repeatRaise(ctx, state, client, x, responder)
	case x.raise != nil:
		return t.carryOutRaise(ctx, state, client, x, responder)
	}
	release, err := t.slots.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	now := t.now()
	n, refresh, handle := t.newSession(now, state.call, client, x)
	suspensions, err := t.store.SuspensionKey(ctx, t.keys)
	if err != nil {
		return err
	}
	n.UserDigest = suspensions.UserDigest(client.TenantID, x.subject.sub)
	var access minted
	_, err = t.store.CreateSession(ctx, n, func(created *models.Session) error {
		if x.issuedType == tokenTypeSession {
			return nil
		}
		access, err = t.mintSession(client, created, x.pair, created.Audience, created.Scope, now)
		return err
	})
	if err != nil {
		return t.refuseExchange(ctx, client, x, now, err)
	}
	state.call.SessionID = n.ID.String()
	t.reportClaims(ctx, &n.Session, now, access.leftOut)
	t.reportAttributes(ctx, &n.Session, now, x.subject.tooLong)
	t.reportRules(ctx, &n.Session, now, x.failed)
	state.answer = access.response(x.scope)
	state.answer.IssuedTokenType = x.issuedType
	state.answer.ofSession(client, &n.Session, n.Refresh.Generation)
	if client.Settings.HasGrant(models.GrantRefresh) {
		state.answer.RefreshToken = t.keys.encode(client.TenantID, refresh)
	}
	if client.Settings.SessionToken {
		state.answer.SessionToken = t.keys.encode(client.TenantID, handle)
	}
	if x.issuedType == tokenTypeSession {
		// RFC 8693 §2.2.1: access_token is what was asked for, whatever it is.
		state.answer.AccessToken, state.answer.TokenType, state.answer.SessionToken = state.answer.SessionToken, "N_A", ""
		state.answer.ExpiresIn = int64(n.Lifetime().Expiry().Sub(now) / time.Second)
	}
	return state.done(responder)
}

// newSession is what the exchange will write, with the handles it answers with.
// A client without the refresh grant gets a session that ends with its access
// token.
func (t *tokenExchange) newSession(now time.Time, call *Call, c *Client, x *exchange) (n models.NewSession, refresh, handle handle) {
	absolute, idle := c.limits(now)
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
		CreateUser: x.subject.entry.Settings.CreateUsers == nil || *x.subject.entry.Settings.CreateUsers,
		Cap:        c.Settings.MaxSessionsPerUser, OnStatusList: c.Settings.StatusList,
		RecordCreation: call.tell(map[string]any{
			"iss": x.subject.entry.Settings.Issuer, "jti_digest": hexDigest(x.subject.spent.Digest), "amr": session.AMR(x.subject.factors),
		}, nil),
	}
	c.tenant.keep(&n.Session, now, x.proofs)
	if call.Tenant.row.StoreDevice {
		n.DeviceName = x.deviceName
	}
	n.UserAgent, n.IP = call.device()
	if c.Settings.HasGrant(models.GrantRefresh) {
		refresh = t.keys.newHandle(refreshToken, id)
		n.Refresh = t.keys.chain(c.TenantID, refresh)
	}
	if c.Settings.SessionToken {
		handle = t.keys.newHandle(sessionToken, id)
		n.SessionToken = t.keys.chain(c.TenantID, handle)
	}
	return n, refresh, handle
}

// refuseExchange maps what stopped the transaction. A replay is remembered,
// and the first session stays (CONFORMANCE C-06).
func (t *tokenExchange) refuseExchange(ctx context.Context, c *Client, x *exchange, now time.Time, err error) error {
	switch {
	case errors.Is(err, models.ErrTokenSpent):
		recorded := t.store.NoteReplay(ctx, x.subject.spent, models.Event{
			At: now, TenantID: c.TenantID, Type: models.EventClientTokenReplayed, ClientID: c.ID,
			IssuerID: x.subject.entry.ID, Subject: x.subject.sub,
			Details: map[string]any{"iss": x.subject.entry.Settings.Issuer, "jti_digest": hexDigest(x.subject.spent.Digest)},
		})
		if recorded != nil {
			return recorded
		}
		return badSubject(ReasonSubjectTokenSpent, "it was used before; each client token is good for one exchange")
	case errors.Is(err, models.ErrTokenBeforeRestore):
		return badSubject(ReasonSubjectTokenRestored, "it was issued before the database was restored from a backup; sign the user in again").because(err)
	case errors.Is(err, models.ErrUserDisabled):
		return badSubject(ReasonUserDisabled, "its user is disabled").because(err)
	case errors.Is(err, models.ErrUserUnknown):
		return badSubject(ReasonUserUnknown, "its user is unknown, and create_users is false").because(err)
	case errors.Is(err, models.ErrNotPermitted):
		return badSubject(ReasonSignInDisabled, "its issuer, the client or the tenant is disabled").because(err)
	case errors.Is(err, models.ErrSessionLimit):
		return invalidRequest(ReasonSessionLimit, "session limit reached: the user has as many sessions as max_sessions_per_user allows")
	case errors.Is(err, models.ErrTooLarge):
		return badSubject(ReasonSubjectTokenMapping, "an attribute that it yields is larger than 4 KiB").because(err)
	default:
		return err
	}
}

// TrimUserAgent keeps what a browser says of itself within bounds.
func TrimUserAgent(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
	if len(s) <= maxUserAgent {
		return s
	}
	return strings.ToValidUTF8(s[:maxUserAgent], "")
}
