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

// sealedBytes bounds the value of a sealed cookie: browsers accept 4096 bytes
// for a cookie, including its name and attributes.
const sealedBytes = 3800

// sealer encrypts sessions into cookies. The first key encrypts; all keys
// decrypt.
type sealer struct {
	keys []cipher.AEAD
	name []byte // of the cookie, so that one cookie cannot be used as another
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

// sealed is the content of a sealed cookie. It leaves out the access token,
// which may be longer than a cookie: a refresh yields another.
type sealed struct {
	Handle        handle    `json:"h"`
	SessionID     string    `json:"s"`
	SessionExpiry time.Time `json:"e"`
	RefreshToken  string    `json:"r,omitempty"`
	SessionToken  string    `json:"t,omitempty"`
	Generation    int64     `json:"g"`

	Pending []byte `json:"p,omitempty"` // a pending step-up, as serialized tokens with nothing else
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

// sealPending encodes a pending step-up for a cookie.
func sealPending(t latchkey.Tokens) []byte {
	if t.Pending == nil {
		return nil
	}
	return latchkey.Tokens{SessionID: "-", Pending: t.Pending}.Serialize()
}

// seal returns the value of a cookie. A pending step-up whose client token does
// not fit stays in memory only.
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
		return "", fmt.Errorf("bff: the sealed session has %d bytes, a cookie holds at most %d: use a Store", len(value), sealedBytes)
	}
	return value, nil
}

// open returns the content of a cookie, or ErrNoSession if no key decrypts it.
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

// cookieStore keeps the sessions of sealed cookies in memory while there is
// room; the cookies restore those that were dropped. Update therefore creates
// missing sessions.
type cookieStore struct{ *MemoryStore }

// Update implements [Store].
func (s cookieStore) Update(ctx context.Context, key string, t latchkey.Tokens) error {
	if err := s.MemoryStore.Update(ctx, key, t); !errors.Is(err, ErrNoSession) {
		return err
	}
	return s.Create(ctx, key, t)
}

// importSealed stores the session of a cookie if it is newer than the stored
// one: another process may have refreshed it.
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

// sealedRequest is the state of a request whose cookie is sealed.
type sealedRequest struct {
	cookie sealed // zero: there is none, or it was not read
}

type sealedRequestKey struct{}

// renewCookie returns a request that carries a sealedRequest, and a writer that
// sends the browser a new cookie if the session was refreshed in the meantime.
// Call finish when the handler returns.
func (b *BFF) renewCookie(w http.ResponseWriter, r *http.Request) (_ http.ResponseWriter, _ *http.Request, finish func()) {
	if b.sealer == nil || r.Context().Value(sealedRequestKey{}) != nil {
		return w, r, func() {}
	}
	v := &sealedRequest{}
	r = r.WithContext(context.WithValue(r.Context(), sealedRequestKey{}, v))
	writer := &cookieRenewer{ResponseWriter: w, bff: b, request: v, ctx: r.Context()}
	return writer, r, writer.sendCookie
}

// sealedRequestFrom returns the state of a request, or nil if it has not passed
// Protect or Proxy.
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
		return // ended, moved to another handle, or unchanged
	}
	if err := w.bff.setCookie(w.ResponseWriter, w.request.cookie.Handle, t); err != nil {
		w.bff.log.ErrorContext(w.ctx, "could not renew the cookie of a session", "error", err)
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
	_ = http.NewResponseController(w.ResponseWriter).Flush() // http.Flusher returns no error
}

// Unwrap is for http.ResponseController.
func (w *cookieRenewer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
