package oauth

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/ory/fosite"

	"github.com/latchkey/latchkey/models"
)

// A session token is itself a subject token: as long as the session lives it
// yields fresh access tokens of it (CONFORMANCE C-13). It does not rotate, so a
// copy would serve as well: only clients that authenticate may swap one, or
// public ones that were told so.

// swap is an exchange of a session token, decided but not yet carried out.
type swap struct {
	presented handle
	row       *models.Session // as it was when it was asked
	scope     []string
	targets   []string
}

// badSessionToken has one description for every reason.
func badSessionToken(reason Reason, cause error) *Error {
	return badSubject(reason, "the session token is unknown or replaced, or its session has ended").because(cause)
}

// askSwap asks everything that can refuse.
func (t *tokenExchange) askSwap(ctx context.Context, c *Client, x *exchange, token string, form url.Values) error {
	switch {
	case c.IsPublic() && !c.Settings.AllowPublicSessionToken:
		return invalidRequest(ReasonClientNotAllowed, "A public client may not exchange session tokens unless it has allow_public_session_token")
	case form.Has("latchkey_session_token"):
		return invalidRequest(ReasonParameterUnsupported, "latchkey_session_token requires a client token as subject_token, not a session token")
	case x.issuedType == tokenTypeSession:
		return invalidRequest(ReasonParameterUnsupported, "requested_token_type must be an access token: a session token yields nothing else")
	}
	s := &swap{}
	var err error
	if s.presented, err = t.keys.parseHandle(c.TenantID, token); err != nil || s.presented.kind != sessionToken {
		return badSessionToken(ReasonSessionTokenUnknown, errNotOurs)
	}
	if s.row, err = t.sessionOf(ctx, c, s.presented); err != nil {
		return err
	}
	if s.targets, err = narrowTargets(c, s.row.Audience, form); err != nil {
		return err
	}
	if s.scope, err = narrowScope(c, s.row.Scope, form.Get("scope")); err != nil {
		return err
	}
	if x.pair, err = t.meet(c, x.demand, s.row, t.now()); err != nil {
		return err
	}
	x.swap = s
	return nil
}

// sessionOf reads the live session that a session token stands for.
func (t *tokenExchange) sessionOf(ctx context.Context, c *Client, h handle) (*models.Session, error) {
	row, err := t.store.Session(ctx, c.TenantID, h.session)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return nil, badSessionToken(ReasonSessionTokenUnknown, err)
	case err != nil:
		return nil, err
	case !c.alive(row, t.now()) || t.keys.place(row, h) != current:
		reason, why := t.refusedSessionToken(c, row, h, t.now())
		return nil, badSessionToken(reason, errors.New("ended, of another client, or replaced")).ended(why)
	}
	return row, nil
}

// carryOutSwap moves the session's idle end and signs an access token. There is
// no refresh token: the session token is what goes on.
func (t *tokenExchange) carryOutSwap(ctx context.Context, state *grantState, c *Client, x *exchange, responder fosite.AccessResponder) error {
	release, err := t.slots.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	now := t.now()
	if _, err := c.tenant.ring.active(now); err != nil {
		return err
	}
	row, err := t.touch(ctx, state.call, c, x.swap, now)
	if err != nil {
		return err
	}
	t.renewSessionToken(ctx, row, x.swap.presented)
	state.call.SessionID = row.ID.String()
	access, err := t.mintSession(c, row, x.pair, x.swap.targets, x.swap.scope, now)
	if err != nil {
		return err
	}
	t.reportClaims(ctx, row, now, access.leftOut)
	state.answer = access.response(x.swap.scope)
	state.answer.IssuedTokenType = x.issuedType
	state.answer.ofSession(c, row, row.Refresh.Generation)
	return state.done(responder)
}

// touch notes the use of the session. Its digest may move to a later root
// meanwhile, which is no reason to refuse: then it is read again.
func (t *tokenExchange) touch(ctx context.Context, call *Call, c *Client, s *swap, now time.Time) (*models.Session, error) {
	row := s.row
	agent, ip := call.device()
	for range 3 {
		touched, err := t.store.TouchSession(ctx, models.Touch{
			Tenant: c.TenantID, Client: c.ID, ID: row.ID, Digest: row.SessionToken.Digest, At: now,
			IdleExpiry: c.Settings.Policy().IdleExpiry(now), ValidFrom: c.validFrom(), UserAgent: agent, IP: ip,
		})
		if !errors.Is(err, models.ErrNotFound) {
			return touched, err
		}
		before := row.SessionToken.Digest
		if row, err = t.sessionOf(ctx, c, s.presented); err != nil {
			return nil, err
		}
		if same(before, row.SessionToken.Digest) {
			return nil, badSessionToken(ReasonSessionEnded, errors.New("not permitted any more"))
		}
	}
	return nil, unavailable(errors.New("the session keeps changing"))
}
