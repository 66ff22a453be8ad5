package bff

import (
	"errors"
	"io"
	"net/http"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// replacePause is for how long a token that took a refused one's place is not replaced
// again, even if it was accepted first: an upstream that refuses some of its
// requests must not make a refresh of each.
const replacePause = 30 * time.Second

// replacement is a token that took the place of one that an upstream refused.
type replacement struct {
	token    string
	at       time.Time
	accepted bool
}

// upstreamTransport sends a request of a session to its upstream, and, if that refuses the
// access token as invalid, learns from the server why: a fresh token goes on with
// the request, and an error says that the session is over, or that nobody knows.
type upstreamTransport struct {
	bff     *BFF
	session *cachedSession
	up      upstream
	from    *http.Request // of the browser
	token   string
}

// sessionError is an error of the session, and not of the upstream.
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
		answer.Body.Close() // in another protocol nothing would check paths and tokens
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

// cloneForRetry is a request that can be sent once more. Not ok: its body is gone.
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

// wasJustReplaced says whether a token has just taken a refused one's place, so that
// another one would fare no better.
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
