package bff

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// sealedBytes bounds the value of a sealed cookie: browsers keep 4096 bytes of
// a cookie, its name and attributes included.
const sealedBytes = 3800

// sealer seals sessions into cookies. The first key seals, all of them open.
type sealer struct {
	keys []cipher.AEAD
	name []byte // of the cookie, so that one cookie cannot be passed for another
}

func newSealer(keys [][]byte, cookie string) (*sealer, error) {
	s := &sealer{name: []byte(cookie)}
	for i, key := range keys {
		if len(key) != 32 {
			return nil, fmt.Errorf("bff: CookieKeys[%d] has %d bytes; expected 32", i, len(key))
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, aead)
	}
	return s, nil
}

// sealed is what a sealed cookie holds. The access token stays out: it may be
// longer than a cookie, and a refresh brings another.
type sealed struct {
	Handle        handle    `json:"h"`
	SessionID     string    `json:"s"`
	SessionExpiry time.Time `json:"e"`
	RefreshToken  string    `json:"r,omitempty"`
	SessionToken  string    `json:"t,omitempty"`
	Generation    int64     `json:"g"`

	Pending []byte `json:"p,omitempty"` // a step-up without an answer: serialized tokens with nothing else
}

func (c sealed) tokens() latchkey.Tokens {
	t := latchkey.Tokens{
		SessionID: c.SessionID, SessionExpiry: c.SessionExpiry, RefreshToken: c.RefreshToken, SessionToken: c.SessionToken, Generation: c.Generation,
	}
	if c.Pending != nil {
		if p, err := latchkey.ParseTokens(c.Pending); err == nil {
			t.Pending = p.Pending
		}
	}
	return t
}

// sealPending writes a pending step-up for a cookie.
func sealPending(t latchkey.Tokens) []byte {
	if t.Pending == nil {
		return nil
	}
	return latchkey.Tokens{SessionID: "-", Pending: t.Pending}.Serialize()
}

// seal returns the value of a cookie. A pending step-up whose client token does
// not fit is known to this process alone.
func (s *sealer) seal(h handle, t latchkey.Tokens) (string, error) {
	value, err := s.sealed(h, t)
	if err != nil && t.Pending != nil {
		t.Pending = nil
		return s.sealed(h, t)
	}
	return value, err
}

func (s *sealer) sealed(h handle, t latchkey.Tokens) (string, error) {
	text, err := json.Marshal(sealed{h, t.SessionID, t.SessionExpiry, t.RefreshToken, t.SessionToken, t.Generation, sealPending(t)})
	if err != nil {
		return "", err
	}
	nonce := make([]byte, s.keys[0].NonceSize())
	rand.Read(nonce) // never fails
	value := base64.RawURLEncoding.EncodeToString(s.keys[0].Seal(nonce, nonce, text, s.name))
	if len(value) > sealedBytes {
		return "", fmt.Errorf("bff: the session takes %d bytes of a cookie, at most %d fit", len(value), sealedBytes)
	}
	return value, nil
}

// open returns what a cookie holds. What no key opens is no session.
func (s *sealer) open(value string) (c sealed, err error) {
	box, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || len(value) > sealedBytes {
		return c, ErrNoSession
	}
	for _, key := range s.keys {
		if len(box) < key.NonceSize() {
			break
		}
		text, err := key.Open(nil, box[:key.NonceSize()], box[key.NonceSize():], s.name)
		if err == nil {
			return c, json.Unmarshal(text, &c)
		}
	}
	return c, ErrNoSession
}

// cookieStore keeps the sessions of sealed cookies in memory, for as long as
// there is room: the cookies bring them back. An update therefore creates what
// was dropped.
type cookieStore struct{ *MemoryStore }

// Update implements [Store].
func (s cookieStore) Update(ctx context.Context, key string, t latchkey.Tokens) error {
	if err := s.MemoryStore.Update(ctx, key, t); !errors.Is(err, ErrNoSession) {
		return err
	}
	return s.Create(ctx, key, t)
}

// importSealed makes the store know a session as its cookie has it, if that is newer
// than what the store knows: another process may have refreshed it.
func (s cookieStore) importSealed(ctx context.Context, c sealed) error {
	known, err := s.Load(ctx, c.Handle.key())
	switch {
	case errors.Is(err, ErrNoSession):
		return s.Create(ctx, c.Handle.key(), c.tokens())
	case err != nil || known.Generation > c.Generation || known.Generation == c.Generation && (known.Pending != nil || c.Pending == nil):
		return err
	}
	t := c.tokens()
	t.AccessToken, t.Expiry, t.Scope = known.AccessToken, known.Expiry, known.Scope
	return s.Update(ctx, c.Handle.key(), t)
}

// sealedRequest is a request of a session whose cookie is sealed.
type sealedRequest struct {
	cookie sealed // zero: the request has none, or nobody has looked
}

type sealedRequestKey struct{}

// renewCookie returns a request whose visit is noted, and a writer that sends the
// browser a new cookie when the session was refreshed on the way. finish must be
// called when the handler is done.
func (b *BFF) renewCookie(w http.ResponseWriter, r *http.Request) (_ http.ResponseWriter, _ *http.Request, finish func()) {
	if b.sealer == nil || r.Context().Value(sealedRequestKey{}) != nil {
		return w, r, func() {}
	}
	v := &sealedRequest{}
	r = r.WithContext(context.WithValue(r.Context(), sealedRequestKey{}, v))
	writer := &cookieRenewer{ResponseWriter: w, bff: b, request: v, ctx: r.Context()}
	return writer, r, writer.sendCookie
}

// sealedRequestFrom is the visit of a request; nil: it has not passed Protect or Proxy.
func sealedRequestFrom(r *http.Request) *sealedRequest {
	v, _ := r.Context().Value(sealedRequestKey{}).(*sealedRequest)
	return v
}

// cookieRenewer adds the cookie before the header is written.
type cookieRenewer struct {
	http.ResponseWriter
	bff     *BFF
	request *sealedRequest
	ctx     context.Context
	done    bool
}

func (w *cookieRenewer) sendCookie() {
	if w.done {
		return
	}
	w.done = true
	if w.request.cookie.Handle == "" {
		return
	}
	t, err := w.bff.store.Load(w.ctx, w.request.cookie.Handle.key())
	if c := w.request.cookie; err != nil || t.RefreshToken == c.RefreshToken && t.SessionToken == c.SessionToken && (t.Pending == nil) == (c.Pending == nil) {
		return // over, or under another handle by now, or nothing new
	}
	if err := w.bff.setCookie(w.ResponseWriter, w.request.cookie.Handle, t); err != nil {
		w.bff.log.ErrorContext(w.ctx, "the cookie of a session is not renewed", "error", err)
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *cookieRenewer) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.sendCookie()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *cookieRenewer) Write(p []byte) (int, error) {
	w.sendCookie()
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (w *cookieRenewer) Flush() {
	w.sendCookie()
	_ = http.NewResponseController(w.ResponseWriter).Flush() // as http.Flusher has no error
}

// Unwrap is for http.ResponseController.
func (w *cookieRenewer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
