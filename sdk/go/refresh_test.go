package latchkey_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

func TestARefreshIsRepeatedAfterAFault(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fault{
		"a request that does not arrive":        dropRequest,
		"a lost response":                       loseResponse,
		"a response that never arrives":         neverRespond,
		"half a response":                       truncateResponse,
		"a proxy's 502":                         respondWith(502, htmlType, "<h1>Bad Gateway</h1>"),
		"a proxy's 403":                         respondWith(403, htmlType, "<h1>Forbidden</h1>"),
		"a captive portal":                      respondWith(200, htmlType, "<h1>Welcome to our hotel</h1>"),
		"a response with the type of a page":    respondAsHTML,
		"a redirect":                            respondWith(302, htmlType, "", "Location", "https://portal.example.com/"),
		"JSON that the server does not send":    respondWith(200, jsonType, `{"ok":true}`),
		"JSON that breaks off":                  respondWith(200, jsonType, `{"access_token":"a"`),
		"an outage of the server":               respondWith(503, jsonType, `{"error":"temporarily_unavailable"}`),
		"a fault of the server":                 respondWith(500, jsonType, `{"error":"server_error"}`),
		"too many requests":                     respondWith(429, jsonType, `{"error":"temporarily_unavailable"}`),
		"a proxy's 429":                         respondWith(429, "text/plain", "slow down"),
		"a response that is far too long":       respondWith(200, jsonType, `{"access_token":"`+strings.Repeat("a", 2<<20)+`"}`),
		"a response about another session":      respondWith(200, jsonType, `{"access_token":"a","token_type":"Bearer","expires_in":300,"session_id":"other","session_expires_at":2000000000,"refresh_token":"b"}`),
		"invalid_grant with the type of a page": respondWith(400, htmlType, `{"error":"invalid_grant"}`),
		"invalid_grant beside a 500":            respondWith(500, jsonType, `{"error":"invalid_grant"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, func(o *latchkey.ClientOptions) { o.RetryWindow = 3 * time.Second })
			s := a.signIn()
			before := s.Tokens()
			a.network.fail(f, f)
			if err := a.RefreshSession(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			sent := a.network.take()
			if len(sent) != 3 {
				t.Errorf("%d requests", len(sent))
			}
			for _, form := range sent {
				if form.Get("refresh_token") != before.RefreshToken {
					t.Errorf("another token was sent")
				}
			}
			if after := s.Tokens(); after.AccessToken == before.AccessToken || after.RefreshToken == before.RefreshToken {
				t.Error("the tokens are still the old ones")
			}
			a.requireUsable(s)
		})
	}
}

func TestARefreshWithoutAResponseLeavesTheSessionUnchanged(t *testing.T) {
	t.Parallel()
	a := newApp(t, shortRetryWindow)
	s := a.signIn()
	before := s.Tokens()
	a.network.failAlways(dropRequest)
	err := a.RefreshSession(t.Context(), s)
	if !errors.Is(err, latchkey.ErrUnavailable) || errors.Is(err, latchkey.ErrSessionEnded) || !errors.Is(err, errNetwork) {
		t.Errorf("failed with %v", err)
	}
	if s.Tokens() != before || s.Err() != nil {
		t.Error("the session changed")
	}
	a.requireUsable(s)
}

func TestAMissingEndpointIsTriedOnce(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fault{
		"no such page":            respondWith(404, htmlType, "<h1>Not Found</h1>"),
		"another method":          respondWith(405, "", ""),
		"an unimplemented method": respondWith(501, htmlType, "<h1>Not Implemented</h1>"),
		"the same in JSON":        respondWith(501, jsonType, `{"error":"not_implemented"}`),
	} {
		a := newApp(t)
		s := a.signIn()
		a.network.fail(f)
		if err := a.RefreshSession(t.Context(), s); !errors.Is(err, latchkey.ErrUnavailable) || s.Err() != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(a.network.take()); n != 1 {
			t.Errorf("%s: %d requests", name, n)
		}
		a.requireUsable(s)
	}
}

func TestAMissingIssuerIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	issuer := latchkeytest.New(t)
	client, err := latchkey.NewClient(issuer.URL+"/t/nobody", "web", latchkey.ClientOptions{RetryWindow: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateSession(t.Context(), issuer.ClientToken("alice"), latchkey.CreateParams{}); !errors.Is(err, latchkey.ErrUnavailable) {
		t.Error(err)
	}
}

func TestOnlyInvalidGrantEndsASession(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer fault
		ends   bool
		code   string
	}{
		"an invalid refresh token":   {respondWith(400, jsonType, `{"error":"invalid_grant","error_description":"it is used"}`), true, "invalid_grant"},
		"a disabled client":          {respondWith(401, jsonType, `{"error":"invalid_client"}`), false, "invalid_client"},
		"a client without the grant": {respondWith(400, jsonType, `{"error":"unauthorized_client"}`), false, "unauthorized_client"},
		"a gateway's JSON":           {respondWith(403, jsonType, `{"error":"forbidden"}`), false, "forbidden"},
		"invalid_grant with a 403":   {respondWith(403, jsonType, `{"error":"invalid_grant"}`), false, "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			s := a.signIn()
			a.network.fail(c.answer)
			err := a.RefreshSession(t.Context(), s)
			var refusal *latchkey.Error
			if !errors.As(err, &refusal) || refusal.Code != c.code {
				t.Errorf("failed with %v", err)
			}
			if errors.Is(err, latchkey.ErrSessionEnded) != c.ends || errors.Is(s.Err(), latchkey.ErrSessionEnded) != c.ends {
				t.Errorf("ended: %v, %v", err, s.Err())
			}
			if errors.Is(err, latchkey.ErrUnavailable) || len(a.network.take()) != 1 {
				t.Error("a refusal was not taken as one")
			}
			if c.ends {
				if _, err := a.AccessToken(t.Context(), s); !errors.Is(err, latchkey.ErrSessionEnded) || len(a.network.take()) != 0 {
					t.Errorf("an ended session was used: %v", err)
				}
			} else {
				a.requireUsable(s)
			}
		})
	}
}

func TestConcurrentCallersShareOneRefresh(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := a.signIn()
	a.issuer.Advance(time.Hour)
	tokens := make([]string, 64)
	var all, begun sync.WaitGroup
	begun.Add(len(tokens))
	a.network.fail(func(r *http.Request) (*http.Response, error) {
		begun.Wait()
		return loseResponse(r)
	}, loseResponse, loseResponse) // so that the last caller is still in time
	for i := range tokens {
		handle := s
		if i%2 == 1 {
			handle = a.RestoreSession(s.Tokens(), nil) // of the same session
		}
		all.Go(func() {
			begun.Done()
			fresh, err := a.AccessToken(t.Context(), handle)
			if err != nil {
				t.Error(err)
			}
			tokens[i] = fresh.AccessToken
		})
	}
	all.Wait()
	for _, token := range tokens {
		if token != tokens[0] {
			t.Fatal("not everybody has the same token")
		}
	}
	if sent := a.network.take(); len(sent) != 4 {
		t.Errorf("%d requests, three of which were lost", len(sent))
	}
	a.requireUsable(s)
}

func TestACanceledCallerStopsNoOtherCaller(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := a.signIn()
	before := s.Tokens()
	arrived, release := make(chan struct{}), make(chan struct{})
	a.network.fail(func(r *http.Request) (*http.Response, error) {
		close(arrived)
		<-release
		return loseResponse(r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- a.RefreshSession(ctx, s) }()
	<-arrived
	go func() { second <- a.RefreshSession(t.Context(), s) }()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) || !errors.Is(err, latchkey.ErrUnavailable) {
		t.Errorf("the canceled caller: %v", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("the other caller: %v", err)
	}
	if s.Tokens() == before {
		t.Error("nothing was refreshed")
	}
	a.requireUsable(s)
}

func TestARefreshContinuesWithoutItsCaller(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := a.signIn()
	before := s.Tokens()
	ctx, cancel := context.WithCancel(t.Context())
	a.network.fail(func(r *http.Request) (*http.Response, error) {
		cancel()
		return loseResponse(r)
	})
	if err := a.RefreshSession(ctx, s); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for s.Tokens() == before { // until the refresh completes, or the test runs out of time
		time.Sleep(time.Millisecond)
	}
	a.requireUsable(s)
}

func TestRetryAfterIsHonored(t *testing.T) {
	t.Parallel()
	t.Run("a short pause is waited for", func(t *testing.T) {
		a := newApp(t)
		s := a.signIn()
		a.network.fail(respondWith(503, jsonType, `{"error":"temporarily_unavailable"}`, "Retry-After", "1"))
		began := time.Now()
		if err := a.RefreshSession(t.Context(), s); err != nil || time.Since(began) < time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
	t.Run("a pause beyond the window is reported at once", func(t *testing.T) {
		for _, f := range []fault{
			respondWith(429, jsonType, `{"error":"temporarily_unavailable"}`, "Retry-After", "7200"),
			respondWith(429, htmlType, ``, "Retry-After", time.Now().Add(2*time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")),
		} {
			a := newApp(t, func(o *latchkey.ClientOptions) { o.RetryWindow = time.Hour })
			s := a.signIn()
			a.network.failAlways(f)
			if err := a.RefreshSession(t.Context(), s); !errors.Is(err, latchkey.ErrUnavailable) {
				t.Error(err)
			}
			if n := len(a.network.take()); n != 1 {
				t.Errorf("%d requests", n)
			}
		}
	})
}

func TestAnAccessTokenIsReplacedShortlyBeforeItExpires(t *testing.T) {
	t.Parallel()
	a := newApp(t, shortRetryWindow)
	s := a.signIn()
	token := func(want bool) {
		t.Helper()
		before := s.Tokens()
		got, err := a.AccessToken(t.Context(), s)
		if err != nil || got != s.Tokens() || (got != before) != want {
			t.Errorf("replaced %t, %v", got != before, err)
		}
	}
	token(false)
	a.issuer.Advance(5*time.Minute - 16*time.Second)
	token(false)
	a.issuer.Advance(2 * time.Second)
	a.network.failAlways(dropRequest)
	token(false) // the old token is still valid
	if err := a.RefreshSession(t.Context(), s); !errors.Is(err, latchkey.ErrUnavailable) {
		t.Errorf("the refresh that goes on: %v", err)
	}
	a.network.fail()
	token(true)
	token(false)

	a.issuer.Advance(5 * time.Minute)
	a.network.failAlways(dropRequest)
	if _, err := a.AccessToken(t.Context(), s); !errors.Is(err, latchkey.ErrUnavailable) {
		t.Errorf("an expired token was given out: %v", err)
	}
	a.network.fail()
	a.issuer.RevokeSession(s.ID())
	if _, err := a.AccessToken(t.Context(), s); !errors.Is(err, latchkey.ErrSessionEnded) {
		t.Errorf("of an ended session: %v", err)
	}
}

func TestASessionWithoutARefreshTokenIsRefreshedByItsSessionToken(t *testing.T) {
	t.Parallel()
	a := newApp(t, confidential)
	kept := a.signIn().Tokens()
	kept.RefreshToken = ""
	s := a.RestoreSession(kept, nil)
	a.network.fail(loseResponse)
	if err := a.RefreshSession(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := s.Tokens(); got.AccessToken == kept.AccessToken || got.SessionToken != kept.SessionToken || got.RefreshToken != "" {
		t.Errorf("got %+v", got)
	}
	a.network.fail(respondWith(400, jsonType, `{"error":"invalid_request"}`)) // does not mean that the session has ended
	if err := a.RefreshSession(t.Context(), s); err == nil || errors.Is(err, latchkey.ErrSessionEnded) {
		t.Errorf("a bad request: %v", err)
	}
	a.issuer.RevokeSession(s.ID())
	if err := a.RefreshSession(t.Context(), s); !errors.Is(err, latchkey.ErrSessionEnded) {
		t.Errorf("an ended one: %v", err)
	}
}
