package oauth

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// raising is the session that an exchange raises instead of opening one: a
// step-up (CONFORMANCE C-08).
type raising struct {
	id        models.SessionID
	presented handle // zero: an access token named the session

	clientToken []byte          // its digest
	row         *models.Session // of a repetition; nil: it is none
	made        sessionHandles  // the session's handles afterwards
}

// invalidSession has one description for every token that names no session
// which it may raise.
func invalidSession(reason Reason, cause error) *Error {
	return refuse("invalid_grant", reason, "latchkey_session_token is unknown or replaced, or its session has ended").because(cause)
}

// readRaised reads latchkey_session_token: a refresh token, a session token,
// or an access token of a client that authenticates.
func (s *Server) readRaised(ctx context.Context, c *Client, text string) (*raising, error) {
	if !strings.HasPrefix(text, "lk_") {
		return s.readRaisedByAccess(ctx, c, text)
	}
	h, err := s.keys.parseHandle(c.TenantID, text)
	if err != nil {
		return nil, invalidSession(ReasonSessionTokenUnknown, err)
	}
	return &raising{id: h.session, presented: h}, nil
}

func (s *Server) readRaisedByAccess(ctx context.Context, c *Client, text string) (*raising, error) {
	if c.Settings.Public() {
		return nil, invalidRequest(ReasonParameterUnsupported, "A public client names the session by its refresh token or session token")
	}
	o, err := s.verifyOwn(ctx, c.tenant, text, s.now())
	switch {
	case errors.Is(err, errNotOurs), errors.Is(err, errOtherKind):
		return nil, invalidSession(ReasonSessionTokenUnknown, err)
	case err != nil:
		return nil, err
	case o.client.ID != c.ID, !s.now().Before(o.exp):
		return nil, invalidSession(ReasonSessionTokenUnknown, errors.New("another client's access token, or an expired one"))
	}
	id, err := models.ParseSessionID(o.sid)
	if err != nil {
		return nil, invalidSession(ReasonSessionTokenUnknown, err)
	}
	return &raising{id: id}, nil
}

// askRaise checks everything that can refuse, of the session as it is now. What
// must be exact is checked again when the row is locked.
func (s *Server) askRaise(ctx context.Context, c *Client, x *exchangeRequest, named string, form url.Values) (err error) {
	if x.issuedType == tokenTypeSession {
		return invalidRequest(ReasonParameterUnsupported, "requested_token_type must be an access token: a step-up yields nothing else")
	}
	if x.raise, err = s.readRaised(ctx, c, named); err != nil {
		return err
	}
	x.raise.clientToken = digestOfClientToken(form.Get("subject_token"))
	row, err := s.store.Session(ctx, c.TenantID, x.raise.id)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return invalidSession(ReasonSessionTokenUnknown, err)
	case err != nil:
		return err
	case !c.alive(row, s.now()), x.raise.presented.kind != 0 && s.keys.place(row, x.raise.presented) == forged:
		return s.refusedRaise(c, row, x.raise.presented, s.now())
	case row.Subject != x.subject.sub:
		return s.refuseStranger(ctx, x, row)
	}
	if x.targets, err = narrowTargets(c, row.Audience, form); err != nil {
		return err
	}
	if x.scope, err = narrowScope(c, row.Scope, form.Get("scope")); err != nil {
		return err
	}
	return x.askRaised(c, row, s.now())
}

// refuseStranger refuses the client token of another user, and remembers it once.
func (s *Server) refuseStranger(ctx context.Context, x *exchangeRequest, row *models.Session) error {
	details := map[string]any{"sub": x.subject.sub, "iss": x.subject.entry.Settings.Issuer, "jti_digest": hexDigest(x.subject.spent.Digest)}
	if err := s.store.AddEvent(ctx, row.Event(s.now(), models.EventStepUpRefused, details), "iss", "jti_digest"); err != nil {
		return err
	}
	return badSubject(ReasonSubjectTokenOtherUser, "it is not of the session's user; set share_subjects on both issuers if they vouch for the same users").compare(row.Subject, x.subject.sub)
}

// askRaised asks whether the session, with what was newly proved, is what the
// request demands, and still fits into a token.
func (x *exchangeRequest) askRaised(c *Client, row *models.Session, now time.Time) error {
	raised := session.Raise(c.tenant.assured(row).factors, x.subject.factors)
	if text, err := encodeJSON(session.AMR(raised)); err != nil || len(text) > maxAMR || len(raised) > maxFactors {
		return badSubject(ReasonSubjectTokenClaims, "the session would have too many factors")
	}
	return x.assure(c, raised, now)
}

// carryOutRaise raises the session in one transaction, in which the access
// token is signed before it commits.
func (s *Server) carryOutRaise(ctx context.Context, call *Call, c *Client, x *exchangeRequest) (tokenResponse, error) {
	release, err := s.slots.acquire(ctx)
	if err != nil {
		return tokenResponse{}, err
	}
	defer release()
	now := s.now()
	var access minted
	row, err := s.store.RaiseSession(ctx, models.Raise{
		Tenant: c.TenantID, Client: c.ID, ID: x.raise.id, Subject: x.subject.sub, IssuerID: x.subject.entry.ID,
		Mapped: x.subject.mapped(), Token: x.subject.spent, At: now,
	}, func(row *models.Session) (details map[string]any, also []models.Event, err error) {
		also, err = s.raise(row, c, x, call, now)
		return x.raisedDetails(row, call), also, err
	}, func(row *models.Session) error {
		access, err = s.mintSession(c, row, x.pair, x.targets, x.scope, now)
		return err
	})
	if err != nil {
		return tokenResponse{}, s.refuseRaise(ctx, call, c, x, now, err)
	}
	s.reportAttributes(ctx, row, now, x.subject.tooLong)
	s.reportRules(ctx, row, now, x.failed)
	return s.raisedResponse(ctx, call, c, x, row, access, now), nil
}

// raise changes the locked row: factors, times, and the session's handles.
func (s *Server) raise(row *models.Session, c *Client, x *exchangeRequest, call *Call, now time.Time) (also []models.Event, err error) {
	if !c.alive(row, now) {
		return nil, s.refusedRaise(c, row, x.raise.presented, now)
	}
	if err := x.askRaised(c, row, now); err != nil {
		return nil, err
	}
	if x.raise.made, also, err = s.moveHandles(row, c, x, call, now); err != nil {
		return nil, err
	}
	before := c.tenant.assured(row)
	// Lapsed factors stay, so that introspection can tell what older access tokens
	// rested on; they never count again.
	row.Factors = append(before.lapsed, session.Raise(before.factors, x.subject.factors)...)
	c.tenant.keep(row, now, x.proofs)
	absolute, idle := c.limits(now)
	if c.tenant.classes().Anew(now, before.proofs, x.proofs, x.subject.factors) {
		row.AbsoluteExpiry = later(row.AbsoluteExpiry, absolute)
	}
	row.LastActiveAt, row.IdleExpiry = now, idle
	row.UserAgent, row.IP = call.device()
	return also, nil
}

// chainRefused says why the presented token may not raise its session.
type chainRefused struct {
	row     models.Session
	outcome session.RefreshOutcome
}

// Error implements error.
func (e *chainRefused) Error() string { return "the presented token: " + e.outcome.String() }

// refuseRaise maps what stopped the transaction; nothing of it has happened. A
// used refresh token ends its session here as it does at a refresh.
func (s *Server) refuseRaise(ctx context.Context, call *Call, c *Client, x *exchangeRequest, now time.Time, err error) error {
	var refused *chainRefused
	switch {
	case errors.As(err, &refused) && x.raise.presented.kind == refreshToken:
		return s.refuseRefresh(ctx, call, &refused.row, x.raise.presented, refused.outcome, now)
	case errors.As(err, &refused):
		return s.refusedRaise(c, &refused.row, x.raise.presented, now)
	case errors.Is(err, models.ErrNotFound):
		return invalidSession(ReasonSessionTokenUnknown, err)
	default:
		return s.refuseExchange(ctx, c, x, now, err)
	}
}

// raisedDetails is what the event tells.
func (x *exchangeRequest) raisedDetails(row *models.Session, call *Call) map[string]any {
	return call.tell(map[string]any{
		"iss": x.subject.entry.Settings.Issuer, "jti_digest": hexDigest(x.subject.spent.Digest), "amr": session.AMR(x.subject.factors),
		"acr": x.proofs.Best().ACR,
	}, nil)
}

// later is the later one of two moments.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
