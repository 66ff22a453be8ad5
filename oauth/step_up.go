package oauth

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/session"
)

// stepUpSession is the session that an exchange steps up instead of opening
// one.
type stepUpSession struct {
	id        models.SessionID
	presented keys.Handle // zero: latchkey_session_token is an access token

	clientToken []byte          // digest of the client token
	row         *models.Session // nil, unless the request is a repetition
	handles     keys.Handles    // the session's handles after the step-up
}

// invalidSession returns the refusal of a latchkey_session_token. Its
// description is the same for every reason.
func invalidSession(reason Reason, cause error) *Error {
	return refuse("invalid_grant", reason, "latchkey_session_token is unknown or was replaced, or its session has ended").withCause(cause)
}

// readStepUp parses latchkey_session_token: a refresh token, a session token,
// or an access token of a confidential client.
func (s *Server) readStepUp(ctx context.Context, c *Client, text string) (*stepUpSession, error) {
	if !strings.HasPrefix(text, "lk_") {
		return s.readStepUpByAccess(ctx, c, text)
	}
	h, err := s.keys.ParseHandle(c.TenantID, text)
	if err != nil {
		return nil, invalidSession(ReasonSessionTokenUnknown, err)
	}
	return &stepUpSession{id: h.Session, presented: h}, nil
}

// readStepUpByAccess verifies latchkey_session_token as an access token.
func (s *Server) readStepUpByAccess(ctx context.Context, c *Client, text string) (*stepUpSession, error) {
	if c.Settings.Public() {
		return nil, invalidRequest(ReasonParameterUnsupported, "latchkey_session_token of a public client must be a refresh token or a session token")
	}
	o, err := s.verifyOwn(ctx, c.tenant, text, s.now())
	switch {
	case errors.Is(err, keys.ErrUnknownToken), errors.Is(err, errNotAccessToken):
		return nil, invalidSession(ReasonSessionTokenUnknown, err)
	case err != nil:
		return nil, err
	case o.client.ID != c.ID, !s.now().Before(o.exp):
		return nil, invalidSession(ReasonSessionTokenUnknown, errors.New("the access token has expired or was issued to another client"))
	}
	id, err := models.ParseSessionID(o.sid)
	if err != nil {
		return nil, invalidSession(ReasonSessionTokenUnknown, err)
	}
	return &stepUpSession{id: id}, nil
}

// checkStepUp checks everything that can reject a step-up against the current
// state of the session. Checks that must be exact are repeated when the row is
// locked.
func (s *Server) checkStepUp(ctx context.Context, c *Client, x *exchangeRequest, named string, form url.Values) (err error) {
	if x.issuedType == tokenTypeSession {
		return invalidRequest(ReasonParameterUnsupported, "requested_token_type must be an access token type when latchkey_session_token is sent")
	}
	if x.stepUp, err = s.readStepUp(ctx, c, named); err != nil {
		return err
	}
	x.stepUp.clientToken = keys.ClientTokenDigest(form.Get("subject_token"))
	row, err := s.store.Session(ctx, c.TenantID, x.stepUp.id)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return invalidSession(ReasonSessionTokenUnknown, err)
	case err != nil:
		return err
	case !c.alive(row, s.now()), x.stepUp.presented.Kind != 0 && s.keys.Classify(row, x.stepUp.presented) == keys.Forged:
		return s.stepUpError(c, row, x.stepUp.presented, s.now())
	case row.Subject != x.subject.sub:
		return s.refuseOtherUser(ctx, x, row)
	}
	if x.targets, err = narrowTargets(c, row.Audience, form); err != nil {
		return err
	}
	if x.scope, err = narrowScope(c, row.Scope, form.Get("scope")); err != nil {
		return err
	}
	return x.checkSteppedUp(c, row, s.now())
}

// refuseOtherUser returns the refusal of a client token of another user. It
// records one event for each client token.
func (s *Server) refuseOtherUser(ctx context.Context, x *exchangeRequest, row *models.Session) error {
	details := map[string]any{"sub": x.subject.sub, "iss": x.subject.entry.Settings.Issuer, "jti_digest": hexDigest(x.subject.spent.Digest)}
	if err := s.store.AddEvent(ctx, row.Event(s.now(), models.EventStepUpRefused, details), "iss", "jti_digest"); err != nil {
		return err
	}
	return badSubject(ReasonSubjectTokenOtherUser, "its subject is not the user of the session; set share_subjects on both trusted issuers if they vouch for the same users").compare(row.Subject, x.subject.sub)
}

// checkSteppedUp checks that the session with the newly proved factors meets
// the demand, and that its factors still fit into a token.
func (x *exchangeRequest) checkSteppedUp(c *Client, row *models.Session, now time.Time) error {
	factors := session.AddFactors(c.tenant.sessionAssurance(row).factors, x.subject.factors)
	if text, err := jws.EncodeJSON(session.AMR(factors)); err != nil || len(text) > maxAMR || len(factors) > maxFactors {
		return badSubject(ReasonSubjectTokenClaims, "with its factors, the session would have more than 50 factors or more than 512 bytes of amr")
	}
	return x.assure(c, factors, now)
}

// issueSteppedUp steps up the session in one transaction. The access token is
// signed before the transaction commits.
func (s *Server) issueSteppedUp(ctx context.Context, call *Call, c *Client, x *exchangeRequest) (tokenResponse, error) {
	release, err := s.tokenSlots.acquire(ctx)
	if err != nil {
		return tokenResponse{}, err
	}
	defer release()
	now := s.now()
	var access minted
	row, err := s.store.StepUpSession(ctx, models.StepUpRequest{
		Tenant: c.TenantID, Client: c.ID, ID: x.stepUp.id, Subject: x.subject.sub, IssuerID: x.subject.entry.ID,
		Mapped: x.subject.mapped(), Token: x.subject.spent, Upstream: x.subject.upstream, At: now,
	}, func(row *models.Session) (details map[string]any, events []models.Event, err error) {
		before := c.tenant.sessionAssurance(row).proofs.Best().ACR
		events, err = s.applyStepUp(row, c, x, call, now)
		return x.stepUpDetails(call, before), events, err
	}, func(row *models.Session) error {
		access, err = s.mintSession(c, row, x.stated, x.targets, x.scope, now)
		return err
	})
	if err != nil {
		return tokenResponse{}, s.refuseStepUp(ctx, call, c, x, now, err)
	}
	s.reportAttributes(ctx, row, now, x.subject.tooLong)
	s.reportRules(ctx, row, now, x.failed)
	return s.stepUpResponse(ctx, call, c, x, row, access, now), nil
}

// applyStepUp changes the locked row: its factors, its times, and the session's
// handles.
func (s *Server) applyStepUp(row *models.Session, c *Client, x *exchangeRequest, call *Call, now time.Time) (events []models.Event, err error) {
	if !c.alive(row, now) {
		return nil, s.stepUpError(c, row, x.stepUp.presented, now)
	}
	if err := x.checkSteppedUp(c, row, now); err != nil {
		return nil, err
	}
	if x.stepUp.handles, events, err = s.moveHandles(row, c, x, call, now); err != nil {
		return nil, err
	}
	before := c.tenant.sessionAssurance(row)
	// Lapsed factors are kept, because introspection needs them to determine
	// what older access tokens relied on. They never count again.
	row.Factors = append(before.lapsed, session.AddFactors(before.factors, x.subject.factors)...)
	c.tenant.storeDecision(row, now, x.proofs)
	absolute, idle := c.newExpiries(now)
	if c.tenant.classes().IsFullReauthentication(now, before.proofs, x.proofs, x.subject.factors) {
		row.AbsoluteExpiry = later(row.AbsoluteExpiry, absolute)
	}
	row.LastActiveAt, row.IdleExpiry = now, idle
	row.UserAgent, row.IP = call.device()
	return events, nil
}

// chainRefused is why the presented token may not step up its session.
type chainRefused struct {
	row     models.Session
	outcome session.RefreshOutcome
}

// Error implements error.
func (e *chainRefused) Error() string { return "the presented token: " + e.outcome.String() }

// refuseStepUp maps an error of the transaction, which has been rolled back, to
// a refusal. A used refresh token ends its session here as it does at a
// refresh.
func (s *Server) refuseStepUp(ctx context.Context, call *Call, c *Client, x *exchangeRequest, now time.Time, err error) error {
	var refused *chainRefused
	switch {
	case errors.As(err, &refused) && x.stepUp.presented.Kind == keys.RefreshToken:
		return s.refuseRefresh(ctx, call, &refused.row, x.stepUp.presented, refused.outcome, now)
	case errors.As(err, &refused):
		return s.stepUpError(c, &refused.row, x.stepUp.presented, now)
	case errors.Is(err, models.ErrNotFound):
		return invalidSession(ReasonSessionTokenUnknown, err)
	default:
		return call.checks.step(s.refuseExchange(ctx, c, x, now, err), func() []Check { return sessionChecks(c, x) })
	}
}

// stepUpDetails returns the details of the event. before is the class that the session
// reached until then; empty: none.
func (x *exchangeRequest) stepUpDetails(call *Call, before string) map[string]any {
	details := x.proofDetails(call)
	if before != "" {
		details["previous_acr"] = before
	}
	return details
}

// proofDetails returns what an event records of a client token that was accepted: what
// it proved, and the class that the session reaches with it.
func (x *exchangeRequest) proofDetails(call *Call) map[string]any {
	details := map[string]any{
		"iss": x.subject.entry.Settings.Issuer, "jti_digest": hexDigest(x.subject.spent.Digest), "amr": session.AMR(x.subject.factors),
	}
	if acr := x.proofs.Best().ACR; acr != "" {
		details["acr"] = acr
	}
	return call.withDevice(details, nil)
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
