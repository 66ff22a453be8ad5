package bff

import (
	"errors"
	"io"
	"net/http"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// replacePause is the least time between two replacements of an upstream's
// token: an upstream that rejects only some requests must not cause a refresh
// with each.
const replacePause = 30 * time.Second

// replacement is a token that replaced one that an upstream rejected.
type replacement struct {
	token    string
	at       time.Time
	accepted bool
}

// upstreamTransport sends a request to an upstream. If that rejects the access
// token as invalid, the session is refreshed: either the request is repeated
// with a new token, or the error shows that the session has ended or could not
// be refreshed.
type upstreamTransport struct {
	bff     *BFF
	session *cachedSession
	up      upstream
	from    *http.Request // the browser's request
	token   string
}

// sessionError is an error of the session and not of the upstream.
type sessionError struct{ error }

// Unwrap is for errors.Is.
func (e sessionError) Unwrap() error { return e.error }

// RoundTrip implements http.RoundTripper.
func (s upstreamTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := s.send(r, s.token)
	if err != nil || !isTokenRefused(answer) || s.session.wasJustReplaced(s.up.prefix, s.token, s.bff.now()) {
		return answer, err
	}
	fresh, err := s.bff.client.ReplaceToken(userAgentContext(s.from), s.session.Session, s.up.target, s.token)
	if err != nil {
		answer.Body.Close()
		return nil, sessionError{err}
	}
	s.session.recordReplacement(s.up.prefix, fresh.AccessToken, s.bff.now())
	again, ok := cloneForRetry(r)
	if !ok {
		return answer, nil // the next request has the fresh token
	}
	answer.Body.Close()
	again.Header.Set("Authorization", "Bearer "+fresh.AccessToken)
	return s.send(again, fresh.AccessToken)
}

func (s upstreamTransport) send(r *http.Request, token string) (*http.Response, error) {
	answer, err := s.bff.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		answer.Body.Close() // paths and tokens cannot be checked in another protocol
		return nil, errors.New("the upstream switched protocols")
	}
	if !isTokenRefused(answer) {
		s.session.recordAccepted(s.up.prefix, token)
	}
	return withoutTrailers(answer), nil
}

func isTokenRefused(answer *http.Response) bool {
	return answer.StatusCode == http.StatusUnauthorized && latchkey.IsInvalidTokenChallenge(answer.Header)
}

// cloneForRetry returns a request that can be sent again. If ok is false, its
// body is gone.
func cloneForRetry(r *http.Request) (again *http.Request, ok bool) {
	var body io.ReadCloser
	if r.Body != nil && r.Body != http.NoBody {
		if r.GetBody == nil {
			return nil, false
		}
		var err error
		if body, err = r.GetBody(); err != nil {
			return nil, false
		}
	}
	again = r.Clone(r.Context())
	again.Body = body
	return again, true
}

// wasJustReplaced reports whether a token has just replaced a rejected one, so
// that yet another token would not help.
func (l *cachedSession) wasJustReplaced(prefix, token string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.replacements[prefix]
	return r.token == token && (!r.accepted || now.Sub(r.at) < replacePause)
}

func (l *cachedSession) recordReplacement(prefix, token string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.replacements[prefix].token != token {
		l.replacements[prefix] = replacement{token: token, at: now}
	}
}

func (l *cachedSession) recordAccepted(prefix, token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.replacements[prefix]; r.token == token {
		r.accepted = true
		l.replacements[prefix] = r
	}
}
