package bff

import (
	"errors"
	"io"
	"net/http"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// calm is for how long a token that took a refused one's place is not replaced
// again, even if it was accepted first: an upstream that refuses some of its
// requests must not make a refresh of each.
const calm = 30 * time.Second

// replacement is a token that took the place of one that an upstream refused.
type replacement struct {
	token    string
	at       time.Time
	accepted bool
}

// sender sends a request of a session to its upstream, and, if that refuses the
// access token as invalid, learns from the server why: a fresh token goes on with
// the request, and an error says that the session is over, or that nobody knows.
type sender struct {
	bff     *BFF
	session *live
	up      upstream
	from    *http.Request // of the browser
	token   string
}

// noToken is an error of the session, and not of the upstream.
type noToken struct{ error }

// Unwrap is for errors.Is.
func (e noToken) Unwrap() error { return e.error }

// RoundTrip implements http.RoundTripper.
func (s sender) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := s.send(r, s.token)
	if err != nil || !refused(answer) || s.session.isNew(s.up.prefix, s.token, s.bff.now()) {
		return answer, err
	}
	fresh, err := s.bff.client.ReplaceToken(agent(s.from), s.session.Session, s.up.target, s.token)
	if err != nil {
		answer.Body.Close()
		return nil, noToken{err}
	}
	s.session.replaced(s.up.prefix, fresh.AccessToken, s.bff.now())
	again, ok := repeat(r)
	if !ok {
		return answer, nil // the next request has the fresh token
	}
	answer.Body.Close()
	again.Header.Set("Authorization", "Bearer "+fresh.AccessToken)
	return s.send(again, fresh.AccessToken)
}

func (s sender) send(r *http.Request, token string) (*http.Response, error) {
	answer, err := s.bff.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		answer.Body.Close() // in another protocol nothing would check paths and tokens
		return nil, errors.New("the upstream switched protocols")
	}
	if !refused(answer) {
		s.session.accepted(s.up.prefix, token)
	}
	return withoutTrailers(answer), nil
}

func refused(answer *http.Response) bool {
	return answer.StatusCode == http.StatusUnauthorized && latchkey.IsInvalidTokenChallenge(answer.Header)
}

// repeat is a request that can be sent once more. Not ok: its body is gone.
func repeat(r *http.Request) (again *http.Request, ok bool) {
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

// isNew says whether a token has just taken a refused one's place, so that
// another one would fare no better.
func (l *live) isNew(prefix, token string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.replacements[prefix]
	return r.token == token && (!r.accepted || now.Sub(r.at) < calm)
}

func (l *live) replaced(prefix, token string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.replacements[prefix].token != token {
		l.replacements[prefix] = replacement{token: token, at: now}
	}
}

func (l *live) accepted(prefix, token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.replacements[prefix]; r.token == token {
		r.accepted = true
		l.replacements[prefix] = r
	}
}
