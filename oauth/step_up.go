package oauth

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/ory/fosite"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// raising is the session that an exchange raises instead of opening one: a
// step-up (CONFORMANCE C-08).
type raising struct {
	id        models.SessionID
	presented handle // zero: an access token named the session
	scope     []string
	targets   []string

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
func (t *tokenExchange) readRaised(ctx context.Context, c *Client, text string) (*raising, error) {
	if !strings.HasPrefix(text, "lk_") {
		return t.readRaisedByAccess(ctx, c, text)
	}
	h, err := t.keys.parseHandle(c.TenantID, text)
	if err != nil {
		return nil, invalidSession(ReasonSessionTokenUnknown, err)
	}
	return &raising{id: h.session, presented: h}, nil
}

func (t *tokenExchange) readRaisedByAccess(ctx context.Context, c *Client, text string) (*raising, error) {
	if c.IsPublic() {
		return nil, invalidRequest(ReasonParameterUnsupported, "A public client names the session by its refresh token or session token")
	}
	o, err := t.verifyOwn(ctx, c.tenant, text, t.now())
	switch {
	case errors.Is(err, errNotOurs), errors.Is(err, errOtherKind):
		return nil, invalidSession(ReasonSessionTokenUnknown, err)
	case err != nil:
		return nil, err
	case o.client.ID != c.ID, !t.now().Before(o.exp):
		return nil, invalidSession(ReasonSessionTokenUnknown, errors.New("another client's access token, or an expired one"))
	}
	id, err := models.ParseSessionID(o.sid)
	if err != nil {
		return nil, invalidSession(ReasonSessionTokenUnknown, err)
	}
	return &raising{id: id}, nil
}

// askRaise asks everything that can refuse, of the session as it is now. What
// must be exact is asked again when it is locked.
func (t *tokenExchange) askRaise(ctx context.Context, c *Client, x *exchange, form url.Values) error {
	row, err := t.store.Session(ctx, c.TenantID, x.raise.id)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return invalidSession(ReasonSessionTokenUnknown, err)
	case err != nil:
		return err
	case !c.alive(row, t.now()), x.raise.presented.kind != 0 && t.keys.place(row, x.raise.presented) == forged:
		return t.refusedRaise(c, row, x.raise.presented, t.now())
	case row.Subject != x.subject.sub:
		return t.refuseStranger(ctx, x, row)
	}
	if x.raise.targets, err = narrowTargets(c, row.Audience, form); err != nil {
		return err
	}
	if x.raise.scope, err = narrowScope(c, row.Scope, form.Get("scope")); err != nil {
		return err
	}
	return x.askRaised(c, row, t.now())
}

// refuseStranger refuses the client token of another user, and remembers it once.
func (t *tokenExchange) refuseStranger(ctx context.Context, x *exchange, row *models.Session) error {
	details := map[string]any{"sub": x.subject.sub, "iss": x.subject.entry.Settings.Issuer, "jti_digest": hexDigest(x.subject.spent.Digest)}
	if err := t.store.AddEvent(ctx, row.Event(t.now(), models.EventStepUpRefused, details), "iss", "jti_digest"); err != nil {
		return err
	}
	return badSubject(ReasonSubjectTokenOtherUser, "it is not of the session's user; set share_subjects on both issuers if they vouch for the same users").compare(row.Subject, x.subject.sub)
}

// askRaised asks whether the session, with what was newly proved, is what the
// request demands, and still fits into a token.
func (x *exchange) askRaised(c *Client, row *models.Session, now time.Time) error {
	raised := session.Raise(c.tenant.assured(row).factors, x.subject.factors)
	if text, err := encodeJSON(session.AMR(raised)); err != nil || len(text) > maxAMR || len(raised) > maxFactors {
		return badSubject(ReasonSubjectTokenClaims, "the session would have too many factors")
	}
	return x.assure(c, raised, now)
}

// carryOutRaise raises the session in one transaction, in which the access
// token is signed before it commits.
func (t *tokenExchange) carryOutRaise(ctx context.Context, state *grantState, c *Client, x *exchange, responder fosite.AccessResponder) error {
	release, err := t.slots.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	now := t.now()
	var access minted
	row, err := t.store.RaiseSession(ctx, models.Raise{
		Tenant: c.TenantID, Client: c.ID, ID: x.raise.id, Subject: x.subject.sub, IssuerID: x.subject.entry.ID,
		Mapped: x.subject.mapped(), Token: x.subject.spent, At: now,
	}, func(row *models.Session) (details map[string]any, also []models.Event, err error) {
		also, err = t.raise(row, c, x, state.call, now)
		return x.raisedDetails(row, state.call), also, err
	}, func(row *models.Session) error {
		access, err = t.mintSession(c, row, x.pair, x.raise.targets, x.raise.scope, now)
		return err
	})
	if err != nil {
		return t.refuseRaise(ctx, state.call, c, x, now, err)
	}
	t.reportAttributes(ctx, row, now, x.subject.tooLong)
	t.reportRules(ctx, row, now, x.failed)
	t.answerRaise(ctx, state, c, x, row, access, now)
	return state.done(responder)
}

// raise changes the locked row: factors, times, and the session's handles.
func (t *tokenExchange) raise(row *models.Session, c *Client, x *exchange, call *Call, now time.Time) (also []models.Event, err error) {
	if !c.alive(row, now) {
		return nil, t.refusedRaise(c, row, x.raise.presented, now)
	}
	if err := x.askRaised(c, row, now); err != nil {
		return nil, err
	}
	if x.raise.made, also, err = t.moveHandles(row, c, x, call, now); err != nil {
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
func (t *tokenExchange) refuseRaise(ctx context.Context, call *Call, c *Client, x *exchange, now time.Time, err error) error {
	var refused *chainRefused
	switch {
	case errors.As(err, &refused) && x.raise.presented.kind == refreshToken:
		return (&refreshGrant{t.Server}).refuse(ctx, call, &refused.row, x.raise.presented, refused.outcome, now)
	case errors.As(err, &refused):
		return t.refusedRaise(c, &refused.row, x.raise.presented, now)
	case errors.Is(err, models.ErrNotFound):
		return invalidSession(ReasonSessionTokenUnknown, err)
	default:
		return t.refuseExchange(ctx, c, x, now, err)
	}
}

// raisedDetails is what the event tells.
func (x *exchange) raisedDetails(row *models.Session, call *Call) map[string]any {
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
