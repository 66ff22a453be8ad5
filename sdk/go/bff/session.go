package bff

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// SignIn stores a new session, and gives the browser a cookie for it. A session
// that the browser had before is signed out.
func (b *BFF) SignIn(w http.ResponseWriter, r *http.Request, s *latchkey.Session) error {
	if err := b.checkHost(r); err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	t, h := s.Tokens(), newHandle()
	if err := b.store.Create(r.Context(), h.key(), t); err != nil {
		b.revoke(r.Context(), s) // it would stay open until it expires
		return fmt.Errorf("sign in: %w", asUnavailable(err))
	}
	if old, before, err := b.find(r); err == nil {
		b.replaceSession(r, old, before.Session, t.SessionID)
	}
	if err := b.setCookie(w, h, t); err != nil {
		_ = b.remove(r.Context(), h) // the browser did not get its cookie
		b.revoke(r.Context(), s)
		return fmt.Errorf("sign in: %w", err)
	}
	return nil
}

// replaceSession removes the session that the browser had before a sign-in.
func (b *BFF) replaceSession(r *http.Request, old handle, before *latchkey.Session, sid string) {
	if err := b.remove(r.Context(), old); err != nil {
		b.log.WarnContext(r.Context(), "could not remove the session before a sign-in", "session", before, "error", err)
	}
	if before.ID() != sid {
		b.revoke(r.Context(), before)
	}
}

// Session returns the session of a request. When it is refreshed, its tokens
// are stored. The error wraps [ErrNoSession], or [latchkey.ErrUnavailable] if
// the store is unreachable or a step-up has just replaced the request's cookie.
func (b *BFF) Session(r *http.Request) (*latchkey.Session, error) {
	_, s, err := b.find(r)
	if err != nil {
		return nil, err
	}
	return s.Session, nil
}

// find loads the session from the store each time: it may have been signed out
// in another process.
func (b *BFF) find(r *http.Request) (handle, *cachedSession, error) {
	h, err := b.handle(r)
	if err != nil {
		return "", nil, err
	}
	if err := b.importSealed(r); err != nil {
		return "", nil, err
	}
	s, err := b.load(r.Context(), h)
	if err != nil {
		return "", nil, err
	}
	return h, s, nil
}

// load returns the session of a handle.
func (b *BFF) load(ctx context.Context, h handle) (*cachedSession, error) {
	t, err := b.store.Load(ctx, h.key())
	if err != nil {
		return nil, asUnavailable(err)
	}
	if isReplaced(t) {
		return nil, errReplaced
	}
	return b.sessions.find(h.key(), func() *cachedSession {
		k := &storedSession{store: b.store, key: h.key()}
		return &cachedSession{Session: b.client.RestoreSession(t, k), stored: k, replacements: map[string]replacement{}}
	}), nil
}

// importSealed adds the session of a sealed cookie to the store.
func (b *BFF) importSealed(r *http.Request) error {
	store, isSealed := b.store.(cookieStore)
	if !isSealed {
		return nil
	}
	v := sealedRequestFrom(r)
	if v == nil {
		return errors.New("bff: with CookieKeys, handlers that use the session must be wrapped by Protect")
	}
	if err := store.importSealed(r.Context(), v.cookie); err != nil {
		return asUnavailable(err)
	}
	return nil
}

// remove deletes the session of a handle.
func (b *BFF) remove(ctx context.Context, h handle) error {
	b.sessions.forget(h.key())
	return b.store.Delete(ctx, h.key())
}

// asUnavailable marks every error of the store as an outage, except
// ErrNoSession.
func asUnavailable(err error) error {
	if errors.Is(err, ErrNoSession) {
		return err
	}
	return fmt.Errorf("%w: session store: %w", latchkey.ErrUnavailable, err)
}

// StepUp adds a further proof of the user to the session of a request, and
// gives the browser a new cookie. The old cookie becomes invalid. Errors are
// those of Session and of [latchkey.Client.StepUp].
//
// If the server does not respond, the cookie stays and the step-up stays
// pending in the store: the next request of the session, or StepUp with the
// same client token, sends it again. A browser that did not get the response of
// this back end may repeat its request with its old cookie, until the client
// token expires.
func (b *BFF) StepUp(w http.ResponseWriter, r *http.Request, clientToken string, p latchkey.StepUpParams) (*latchkey.Session, error) {
	old, s, err := b.find(r)
	if errors.Is(err, ErrNoSession) || errors.Is(err, errReplaced) {
		return b.repeatStepUp(w, r, clientToken)
	}
	if err != nil {
		return nil, fmt.Errorf("step up: %w", err)
	}
	if s.wasSteppedUpBy(clientToken) {
		return s.Session, nil // the browser has the new cookie, but lost the rest of the response
	}
	err = b.client.StepUp(userAgentContext(r), s.Session, clientToken, p)
	if errors.Is(err, latchkey.ErrSessionEnded) {
		b.forgetEnded(r, old)
	}
	if err != nil {
		return nil, err
	}
	h := old.afterStepUp(clientToken)
	if err := s.stored.move(r.Context(), h.key()); err != nil {
		return nil, fmt.Errorf("step up: %w", asUnavailable(err))
	}
	b.sessions.move(old.key(), h.key())
	s.recordStepUp(clientToken)
	b.markReplaced(r, old, s.Tokens())
	if err := b.setCookie(w, h, s.Tokens()); err != nil {
		return nil, fmt.Errorf("step up: %w", err)
	}
	return s.Session, nil
}

// replacedFor is how long requests with the cookie from before a step-up are
// answered with "try again": longer than the step-up's response is under way.
const replacedFor = time.Minute

// errReplaced means that a step-up has replaced the cookie of a request. Pages
// send such requests while the new cookie is under way to the browser. They
// must not be told that nobody is signed in, and the old cookie must not be
// worth what the new one is.
var errReplaced = fmt.Errorf("%w: a step-up has replaced the cookie", latchkey.ErrUnavailable)

// markReplaced leaves an entry without tokens in the place of a session that
// was moved. Without the entry, which is lost if the store fails now, the old
// cookie has no session.
func (b *BFF) markReplaced(r *http.Request, old handle, t latchkey.Tokens) {
	if b.sealer != nil {
		return // the old cookie holds the session itself
	}
	err := b.store.Create(r.Context(), old.key(), latchkey.Tokens{SessionID: t.SessionID, SessionExpiry: b.now().Add(replacedFor)})
	if err != nil {
		b.log.WarnContext(r.Context(), "could not mark a replaced cookie", "error", err)
	}
}

func isReplaced(t latchkey.Tokens) bool {
	return t.AccessToken == "" && t.RefreshToken == "" && t.SessionToken == ""
}

// repeatStepUp gives the browser the cookie of a step-up that was already
// answered. It takes both the old cookie and the client token.
func (b *BFF) repeatStepUp(w http.ResponseWriter, r *http.Request, clientToken string) (*latchkey.Session, error) {
	old, err := b.handle(r)
	if err != nil || b.sealer != nil || expired(clientToken, b.now()) {
		return nil, fmt.Errorf("step up: %w", ErrNoSession)
	}
	h := old.afterStepUp(clientToken)
	s, err := b.load(r.Context(), h)
	if err == nil {
		err = b.setCookie(w, h, s.Tokens())
	}
	if err != nil {
		return nil, fmt.Errorf("step up: %w", err)
	}
	return s.Session, nil
}

// expired reports whether a client token has expired or cannot be read. Its
// signature does not matter: unless it is the token of the step-up, the
// resulting handle leads to no session.
func expired(clientToken string, now time.Time) bool {
	var claims struct{ Exp float64 }
	return !wire.UnverifiedClaims(clientToken, &claims) || float64(now.Unix()) >= claims.Exp
}

// forgetEnded removes a session that the server has ended. The browser keeps
// the cookie: deleting it in a late response could delete a newer one.
func (b *BFF) forgetEnded(r *http.Request, h handle) {
	if err := b.remove(r.Context(), h); err != nil {
		b.log.WarnContext(r.Context(), "could not remove an ended session", "error", err)
	}
}

// userAgentContext returns a context for requests on behalf of the browser.
func userAgentContext(r *http.Request) context.Context {
	if agent := r.UserAgent(); agent != "" {
		return latchkey.WithUserAgent(r.Context(), agent)
	}
	return r.Context()
}
