package latchkey_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// The targets of a session in these tests, and the parameters that grant them.
var (
	// The targets of a session in these tests, and the parameters that grant
	// them.
	toOrders   = latchkey.Target{Audience: []string{"https://orders.example.com"}}
	toPayments = latchkey.Target{Resource: []string{"https://payments.example.com"}, Scope: []string{"pay", "read"}}
	granted    = latchkey.CreateParams{
		Audience: []string{"web", "https://orders.example.com"}, Resource: []string{"https://payments.example.com"}, Scope: []string{"read", "pay", "profile"},
	}
)

// tokenFor returns a token for a target.
func (a *app) tokenFor(s *latchkey.Session, target latchkey.Target) latchkey.Tokens {
	a.t.Helper()
	got, err := a.TokenFor(a.t.Context(), s, target)
	if err != nil {
		a.t.Fatal(err)
	}
	return got
}

// claimsOf decodes an access token without verifying it.
func claimsOf(t testing.TB, token string) (c struct {
	Aud        any
	Scope, ACR string
}) {
	t.Helper()
	if !wire.UnverifiedClaims(token, &c) {
		t.Fatal("not an access token")
	}
	return c
}

func TestATokenForATargetIsValidThereOnly(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use)
	s := a.signInFor(granted)
	before := s.Tokens()
	got := a.tokenFor(s, toPayments)
	if c := claimsOf(t, got.AccessToken); c.Aud != "https://payments.example.com" || c.Scope != "pay read" || got.Scope != "pay read" {
		t.Errorf("got %+v, %q", c, got.Scope)
	}
	if got.RefreshToken != "" || got.SessionToken != "" || got.SessionID != s.ID() {
		t.Errorf("it has a refresh token or a session token: %s", got.Serialize())
	}
	after := s.Tokens()
	if after.AccessToken != before.AccessToken || !after.Expiry.Equal(before.Expiry) || after.Scope != before.Scope {
		t.Error("the session's own token changed")
	}
	if stored, err := kept.Load(t.Context(), s.ID()); err != nil || after.RefreshToken == before.RefreshToken || stored.RefreshToken != after.RefreshToken || stored.AccessToken != after.AccessToken {
		t.Errorf("the next refresh token is not kept: %v", err)
	}
	if c := claimsOf(t, a.tokenFor(s, toOrders).AccessToken); c.Aud != "https://orders.example.com" || c.Scope != "read pay profile" {
		t.Errorf("got %+v", c)
	}
	if sent := a.network.take(); len(sent) != 2 {
		t.Errorf("%d requests", len(sent))
	}

	same := latchkey.Target{Resource: toPayments.Resource, Scope: []string{"read", "pay", "read"}}
	if a.tokenFor(s, same) != got || a.tokenFor(s, latchkey.Target{}) != s.Tokens() || len(a.network.take()) != 0 {
		t.Error("a token that the session has was requested again")
	}
	a.issuer.Advance(time.Hour)
	if a.tokenFor(s, toPayments).AccessToken == got.AccessToken {
		t.Error("an expired token was given out")
	}
	a.requireUsable(s)
}

func TestARefreshForATargetIsRepeatedAfterAFault(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fault{
		"a request that did not arrive": dropRequest,
		"a lost answer":                 loseResponse,
		"half an answer":                truncateResponse,
		"a fault of the server":         respondWith(500, jsonType, `{"error":"server_error"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t)
			s := a.signInFor(granted)
			before := s.Tokens()
			a.network.fail(f, f)
			got := a.tokenFor(s, toOrders)
			sent := a.network.take()
			for _, form := range sent {
				if form.Get("refresh_token") != before.RefreshToken || fmt.Sprint(form["audience"]) != "[https://orders.example.com]" {
					t.Errorf("sent %v", form)
				}
			}
			if len(sent) != 3 || claimsOf(t, got.AccessToken).Aud != "https://orders.example.com" {
				t.Errorf("%d requests", len(sent))
			}
			a.issuer.Advance(time.Minute) // a used token would end the session by now
			a.requireUsable(s)
		})
	}
}

func TestConcurrentRefreshesForTargetsRunOneAfterAnother(t *testing.T) {
	t.Parallel()
	a := newApp(t, func(o *latchkey.ClientOptions) { o.RetryWindow = time.Minute }) // long enough for a busy machine
	s := a.signInFor(granted)
	other := a.RestoreSession(s.Tokens(), nil) // of the same session
	a.issuer.Advance(time.Hour)
	targets := []latchkey.Target{{}, toOrders, toPayments}
	tokens := make([]string, 96)
	var all, begun sync.WaitGroup
	begun.Add(len(tokens))
	a.network.fail(func(r *http.Request) (*http.Response, error) {
		begun.Wait()
		return loseResponse(r)
	})
	for i := range tokens {
		handle := s
		if i%2 == 1 {
			handle = other
		}
		all.Go(func() {
			begun.Done()
			got, err := a.TokenFor(t.Context(), handle, targets[i%3])
			if err != nil {
				t.Error(err)
			}
			tokens[i] = got.AccessToken
		})
	}
	all.Wait()
	for i, token := range tokens {
		if token != tokens[i%3] {
			t.Fatal("not everybody has the same token for a target")
		}
	}
	if tokens[0] == tokens[1] || tokens[1] == tokens[2] {
		t.Error("one token for several targets")
	}
	used := map[string]bool{}
	sent := a.network.take()
	for _, form := range sent {
		used[form.Get("refresh_token")] = true
	}
	if len(sent) != 4 || len(used) != 3 {
		t.Errorf("%d requests with %d refresh tokens; one was lost", len(sent), len(used))
	}
	a.issuer.Advance(time.Minute)
	a.requireUsable(other)
	a.requireUsable(s)
}

func TestATargetThatWasNotGrantedUsesNoRefreshToken(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := a.signInFor(granted)
	before := s.Tokens()
	for code, target := range map[string]latchkey.Target{
		"invalid_target": {Audience: []string{"https://other.example.com"}},
		"invalid_scope":  {Scope: []string{"admin"}},
	} {
		_, err := a.TokenFor(t.Context(), s, target)
		if refusal := (*latchkey.Error)(nil); !errors.As(err, &refusal) || refusal.Code != code || s.Err() != nil || s.Tokens() != before {
			t.Errorf("%s: %v", code, err)
		}
	}
	a.issuer.Advance(time.Minute)
	a.requireUsable(s)
}

func TestTokensForTargetsFollowTheirSession(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := a.signInFor(granted)
	first := a.tokenFor(s, toOrders)
	if err := a.StepUp(t.Context(), s, a.otp("alice"), secondFactor); err != nil {
		t.Fatal(err)
	}
	afterStepUp := a.tokenFor(s, toOrders)
	if afterStepUp == first || claimsOf(t, afterStepUp.AccessToken).ACR != "urn:latchkey:acr:2" {
		t.Error("a token from before the step-up was given out")
	}
	a.requireUsable(s) // refreshed
	if a.tokenFor(s, toOrders) == afterStepUp {
		t.Error("a token from before the refresh was given out")
	}
	if err := a.SignOut(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got, err := a.TokenFor(t.Context(), s, toOrders); !errors.Is(err, latchkey.ErrSessionEnded) || got.AccessToken != "" {
		t.Errorf("signed out: %v", err)
	}
}

func TestATokenForATargetIsReturnedDuringAnOutage(t *testing.T) {
	t.Parallel()
	a := newApp(t, shortRetryWindow)
	s := a.signInFor(granted)
	got := a.tokenFor(s, toOrders)
	a.issuer.Advance(5*time.Minute - 14*time.Second)
	a.network.failAlways(dropRequest)
	if a.tokenFor(s, toOrders) != got {
		t.Error("a valid token was not returned")
	}
	a.issuer.Advance(14 * time.Second)
	if again, err := a.TokenFor(t.Context(), s, toOrders); !errors.Is(err, latchkey.ErrUnavailable) || again.AccessToken != "" {
		t.Errorf("an expired token was given out: %v", err)
	}
	a.network.fail()
	a.requireUsable(s)
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]latchkey.Target{"the session's own": {}, "for a target": toOrders} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, shortRetryWindow)
			s := a.signInFor(granted)
			refused := a.tokenFor(s, target).AccessToken
			a.network.take()
			tokens := make([]string, 32)
			var all sync.WaitGroup
			for i := range tokens {
				all.Go(func() {
					got, err := a.ReplaceToken(t.Context(), s, target, refused)
					if err != nil {
						t.Error(err)
					}
					tokens[i] = got.AccessToken
				})
			}
			all.Wait()
			for _, token := range tokens {
				if token != tokens[0] || token == refused || claimsOf(t, token).Aud == nil {
					t.Fatal("not everybody has the same new token")
				}
			}
			if sent := a.network.take(); len(sent) != 1 {
				t.Errorf("%d requests", len(sent))
			}
			a.network.failAlways(dropRequest)
			if got, err := a.ReplaceToken(t.Context(), s, target, tokens[0]); !errors.Is(err, latchkey.ErrUnavailable) || got.AccessToken != "" {
				t.Errorf("in an outage: %v", err)
			}
			a.network.fail()
			a.issuer.Advance(time.Hour)
			if got, err := a.ReplaceToken(t.Context(), s, target, refused); err != nil || got.AccessToken == tokens[0] {
				t.Errorf("after the replacement expired: %v", err)
			}
			now := a.tokenFor(s, target)
			a.issuer.RevokeSession(s.ID())
			if _, err := a.ReplaceToken(t.Context(), s, target, now.AccessToken); !errors.Is(err, latchkey.ErrSessionEnded) {
				t.Errorf("of an ended session: %v", err)
			}
		})
	}
}

func TestASessionTokenYieldsTokensForTargets(t *testing.T) {
	t.Parallel()
	a := newApp(t, confidential)
	kept := a.signInFor(granted).Tokens()
	kept.RefreshToken = ""
	s := a.RestoreSession(kept, nil)
	if c := claimsOf(t, a.tokenFor(s, toOrders).AccessToken); c.Aud != "https://orders.example.com" {
		t.Errorf("got %+v", c)
	}
	if s.Tokens() != kept {
		t.Error("the session's own tokens changed")
	}
}

func TestUnsavedTokensAreSavedBeforeTheNextRequest(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(a *app, s *latchkey.Session) error{
		"a refresh": func(a *app, s *latchkey.Session) error { return a.RefreshSession(a.t.Context(), s) },
		"another target": func(a *app, s *latchkey.Session) error {
			_, err := a.TokenFor(a.t.Context(), s, toPayments)
			return err
		},
		"a step-up": func(a *app, s *latchkey.Session) error {
			return a.StepUp(a.t.Context(), s, a.otp("alice"), secondFactor)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := newTestStore()
			a := newApp(t, kept.use, shortRetryWindow)
			s := a.signInFor(granted)
			kept.fail(errors.New("the disk is full"))
			if got, err := a.TokenFor(t.Context(), s, toOrders); !errors.Is(err, latchkey.ErrUnavailable) || got.AccessToken != "" {
				t.Fatalf("a token was handed out whose successor is not kept: %v", err)
			}
			kept.fail(nil)
			a.issuer.Advance(time.Minute) // the old refresh token would end the session by now
			if err := next(a, s); err != nil {
				t.Fatal(err)
			}
			a.requireUsable(s)
		})
	}
}

func TestATokenSourceForATarget(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := a.signInFor(granted)
	got, err := a.TokenSourceFor(t.Context(), s, toOrders).Token()
	if err != nil || claimsOf(t, got.AccessToken).Aud != "https://orders.example.com" || got.Expiry.IsZero() {
		t.Errorf("got %v", err)
	}
	if own, err := a.TokenSource(t.Context(), s).Token(); err != nil || own.AccessToken != s.Tokens().AccessToken {
		t.Errorf("the session's own: %v", err)
	}
}
