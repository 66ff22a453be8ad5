package bff

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// SignIn keeps a session that was just made, and gives the browser a new cookie
// for it. The session that the browser had before is signed out.
func (b *BFF) SignIn(w http.ResponseWriter, r *http.Request, s *latchkey.Session) error {
	if err := b.hostAllowed(r); err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	t, h := s.Tokens(), newHandle()
	if err := b.store.Create(r.Context(), h.key(), t); err != nil {
		b.revoke(r.Context(), s) // nobody else knows of it
		return fmt.Errorf("sign in: %w", outage(err))
	}
	if old, before, err := b.find(r); err == nil {
		b.supersede(r, old, before.Session, t.SessionID)
	}
	if err := b.keep(w, h, t); err != nil {
		_ = b.remove(r.Context(), h) // nobody has its cookie
		b.revoke(r.Context(), s)
		return fmt.Errorf("sign in: %w", err)
	}
	return nil
}

// supersede forgets what the browser had before a sign-in.
func (b *BFF) supersede(r *http.Request, old handle, before *latchkey.Session, sid string) {
	if err := b.remove(r.Context(), old); err != nil {
		b.log.WarnContext(r.Context(), "the session before a sign-in is still kept", "session", before, "error", err)
	}
	if before.ID() != sid {
		b.revoke(r.Context(), before)
	}
}

// Session is the session of a request. Its handle keeps what it is refreshed to.
// An error wraps [ErrNoSession], or [latchkey.ErrUnavailable] if the store is
// away.
func (b *BFF) Session(r *http.Request) (*latchkey.Session, error) {
	_, s, err := b.find(r)
	if err != nil {
		return nil, err
	}
	return s.Session, nil
}

// find asks the store each time: somebody may have signed the session out in
// another process.
func (b *BFF) find(r *http.Request) (handle, *live, error) {
	h, err := b.handle(r)
	if err != nil {
		return "", nil, err
	}
	if err := b.adopt(r); err != nil {
		return "", nil, err
	}
	t, err := b.store.Load(r.Context(), h.key())
	if err != nil {
		return "", nil, outage(err)
	}
	return h, b.lives.find(h.key(), func() *live {
		k := &kept{store: b.store, key: h.key()}
		return &live{Session: b.client.Restore(t, k), kept: k, replacements: map[string]replacement{}}
	}), nil
}

// adopt makes the store know the session of a sealed cookie.
func (b *BFF) adopt(r *http.Request) error {
	store, isSealed := b.store.(cookieStore)
	if !isSealed {
		return nil
	}
	v := visitOf(r)
	if v == nil {
		return errors.New("bff: with CookieKeys, handlers that use the session must be wrapped by Protect")
	}
	if err := store.adopt(r.Context(), v.cookie); err != nil {
		return outage(err)
	}
	return nil
}

// remove forgets the session of a handle.
func (b *BFF) remove(ctx context.Context, h handle) error {
	b.lives.forget(h.key())
	return b.store.Delete(ctx, h.key())
}

// outage marks every trouble with the store that does not say that there is no
// session.
func outage(err error) error {
	if errors.Is(err, ErrNoSession) {
		return err
	}
	return fmt.Errorf("%w: the session store: %w", latchkey.ErrUnavailable, err)
}

// StepUp adds one more proof of its user to the session of a request, and gives
// the browser a new cookie. The old one is worthless from then on. Errors are
// those of Session and of [latchkey.Client.StepUp].
//
// Without an answer of the server the cookie stays as it is and the step-up stays
// pending in the store: the next request of the session, or StepUp with the same
// client token, sends it again.
func (b *BFF) StepUp(w http.ResponseWriter, r *http.Request, clientToken string, p latchkey.StepUpParams) (*latchkey.Session, error) {
	old, s, err := b.find(r)
	if err != nil {
		return nil, fmt.Errorf("step up: %w", err)
	}
	raised := b.client.StepUp(agent(r), s.Session, clientToken, p)
	switch {
	case errors.Is(raised, latchkey.ErrSessionEnded):
		b.drop(r, old)
		return nil, raised
	case raised != nil:
		return nil, raised
	}
	h := newHandle()
	if err := s.kept.move(r.Context(), h.key()); err != nil {
		return nil, fmt.Errorf("step up: %w", outage(err))
	}
	b.lives.move(old.key(), h.key())
	if err := b.keep(w, h, s.Tokens()); err != nil {
		return nil, fmt.Errorf("step up: %w", err)
	}
	return s.Session, nil
}

// drop forgets a session that the server has ended. The browser keeps the cookie,
// which is worth nothing: it may have another one by now, which a late answer
// would delete.
func (b *BFF) drop(r *http.Request, h handle) {
	if err := b.remove(r.Context(), h); err != nil {
		b.log.WarnContext(r.Context(), "an ended session is still kept", "error", err)
	}
}

// agent is the context of calls for a request of a session's browser.
func agent(r *http.Request) context.Context {
	if agent := r.UserAgent(); agent != "" {
		return latchkey.WithUserAgent(r.Context(), agent)
	}
	return r.Context()
}
