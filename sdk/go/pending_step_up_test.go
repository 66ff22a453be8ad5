package latchkey_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// loseStepUp leaves a step-up pending because of a fault.
func (a *app) loseStepUp(s *latchkey.Session, clientToken string, f fault) {
	a.t.Helper()
	a.network.failAlways(f)
	if err := a.StepUp(a.t.Context(), s, clientToken, secondFactor); !errors.Is(err, latchkey.ErrUnavailable) || s.Err() != nil {
		a.t.Fatalf("the step-up: %v", err)
	}
	a.network.fail()
	a.network.take()
}

func TestAPendingStepUpIsResolvedByTheNextCall(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(a *app, s *latchkey.Session, otp string) error{
		"StepUp with the same client token": func(a *app, s *latchkey.Session, otp string) error {
			return a.StepUp(a.t.Context(), s, otp, latchkey.StepUpParams{})
		},
		"a refresh": func(a *app, s *latchkey.Session, _ string) error { return a.RefreshSession(a.t.Context(), s) },
		"a fresh access token": func(a *app, s *latchkey.Session, _ string) error {
			_, err := a.AccessToken(a.t.Context(), s)
			return err
		},
	} {
		for restarted, restart := range map[string]bool{"": false, ", after a restart": true} {
			for lostName, f := range map[string]fault{"the answer": loseResponse, "the request": dropRequest} {
				t.Run(name+restarted+", when "+lostName+" was lost", func(t *testing.T) {
					t.Parallel()
					kept := newTestStore()
					a := newApp(t, kept.use, shortRetryWindow, confidential)
					s := a.signIn()
					before, otp := s.Tokens(), a.otp("alice")
					a.loseStepUp(s, otp, f)
					if restart {
						stored, err := kept.Load(t.Context(), s.ID())
						if err != nil {
							t.Fatal(err)
						}
						a.Client = a.client(kept.use, shortRetryWindow, confidential)
						s = a.RestoreSession(stored, nil)
					}
					if lostName == "the answer" {
						a.issuer.Advance(4 * time.Minute) // longer than the retry window and the client token's life
					}
					if err := next(a, s, otp); err != nil {
						t.Fatal(err)
					}
					sent := a.network.take()
					if got := sent[0]; len(sent) != 1 || got.Get("subject_token") != otp || got.Get("latchkey_session_token") != before.RefreshToken || got.Get("acr_values") != "urn:latchkey:acr:2" {
						t.Errorf("sent %d requests, not the pending one", len(sent))
					}
					after := s.Tokens()
					if after.Pending != nil || after.RefreshToken == before.RefreshToken || after.SessionToken == before.SessionToken || a.acr(s) != "urn:latchkey:acr:2" {
						t.Error("the session does not have the tokens of the step-up")
					}
					if stored, _ := kept.Load(t.Context(), s.ID()); stored.Pending != nil || stored.RefreshToken != after.RefreshToken || stored.SessionToken != after.SessionToken {
						t.Error("the store does not have the tokens of the step-up")
					}
					a.requireUsable(s)
				})
			}
		}
	}
}

func TestTokenForResolvesAPendingStepUpFirst(t *testing.T) {
	t.Parallel()
	a := newApp(t, shortRetryWindow)
	s := a.signInFor(latchkey.CreateParams{Audience: []string{"web", "orders"}})
	a.loseStepUp(s, a.otp("alice"), loseResponse)
	a.issuer.Advance(time.Hour)
	a.network.fail(nil, loseResponse) // the answer to the refresh too
	if _, err := a.TokenFor(t.Context(), s, latchkey.Target{Audience: []string{"orders"}}); err != nil {
		t.Fatal(err)
	}
	if sent := a.network.take(); len(sent) != 3 || !sent[0].Has("subject_token") || !sent[1].Has("refresh_token") {
		t.Errorf("sent %v", grants(sent))
	}
	if s.Tokens().Pending != nil {
		t.Error("the step-up is still pending")
	}
	a.requireUsable(s)
}

func grants(sent []url.Values) (list []string) {
	for _, form := range sent {
		list = append(list, form.Get("grant_type"))
	}
	return list
}

func TestARefusedPendingStepUpIsDropped(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use, shortRetryWindow)
	s := a.signIn()
	a.loseStepUp(s, a.otp("bob"), dropRequest)
	if err := a.RefreshSession(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if sent := a.network.take(); len(sent) != 2 || sent[1].Get("refresh_token") == "" {
		t.Errorf("sent %v", grants(sent))
	}
	if stored, err := kept.Load(t.Context(), s.ID()); err != nil || stored.Pending != nil || s.Tokens().Pending != nil {
		t.Errorf("still pending: %v", err)
	}
	a.requireUsable(s)

	otp := a.otp("bob")
	a.loseStepUp(s, otp, dropRequest)
	if err := a.StepUp(t.Context(), s, otp, secondFactor); errors.Is(err, latchkey.ErrUnavailable) || err == nil || s.Tokens().Pending != nil {
		t.Errorf("a refused repetition: %v", err)
	}
	a.requireUsable(s)
}

func TestAPendingStepUpOutlivesUnrelatedRefusals(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fault{
		"the client is switched off":     respondWith(401, jsonType, `{"error":"invalid_client"}`),
		"the client may not exchange":    respondWith(400, jsonType, `{"error":"unauthorized_client"}`),
		"a gateway's JSON":               respondWith(403, jsonType, `{"error":"forbidden"}`),
		"a gateway that knows no issuer": respondWith(404, jsonType, `{"error":"not_found"}`),
	} {
		a := newApp(t, shortRetryWindow)
		s := a.signIn()
		a.loseStepUp(s, a.otp("alice"), loseResponse)
		a.issuer.Advance(time.Minute)
		a.network.failAlways(f)
		if err := a.RefreshSession(t.Context(), s); err == nil || errors.Is(err, latchkey.ErrSessionEnded) {
			t.Errorf("%s: %v", name, err)
		}
		a.requireUsable(s)
		if a.acr(s) != "urn:latchkey:acr:2" {
			t.Errorf("%s: the step-up was forgotten", name)
		}
	}
}

func TestAnotherStepUpResolvesThePendingOneFirst(t *testing.T) {
	t.Parallel()
	a := newApp(t, shortRetryWindow)
	s := a.signIn()
	first := a.otp("alice")
	a.loseStepUp(s, first, loseResponse)
	a.issuer.Advance(time.Minute)
	other := a.issuer.ClientToken("alice", latchkeytest.Claims{"amr": []string{"hwk"}})
	if err := a.StepUp(t.Context(), s, other, latchkey.StepUpParams{}); err != nil {
		t.Fatal(err)
	}
	if sent := a.network.take(); len(sent) != 2 || sent[0].Get("subject_token") != first || sent[1].Get("subject_token") != other {
		t.Errorf("sent %d requests", len(sent))
	}
	d, err := a.ValidateSession(t.Context(), s.Tokens().AccessToken)
	if err != nil || len(d.AMR) != 3 {
		t.Errorf("the session has %v, %v", d, err)
	}
	a.requireUsable(s)
}

func TestAStepUpIsSavedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use, shortRetryWindow)
	s := a.signIn()
	otp := a.otp("alice")
	kept.fail(errors.New("the disk is full"))
	if err := a.StepUp(t.Context(), s, otp, secondFactor); !errors.Is(err, latchkey.ErrUnavailable) || len(a.network.take()) != 0 || s.Tokens().Pending != nil {
		t.Errorf("without a store: %v", err)
	}
	kept.fail(nil)
	var stored latchkey.Tokens
	a.network.fail(func(r *http.Request) (*http.Response, error) {
		stored, _ = kept.Load(t.Context(), s.ID())
		return http.DefaultTransport.RoundTrip(r)
	})
	if err := a.StepUp(t.Context(), s, otp, secondFactor); err != nil {
		t.Fatal(err)
	}
	if stored.Pending == nil || stored.Pending.ClientToken != otp || len(stored.Pending.Params.ACRValues) != 1 {
		t.Error("the store did not have the step-up when it was sent")
	}
	a.requireUsable(s)
}

func TestAStepUpThatCannotBeSavedIsSavedLater(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use, shortRetryWindow)
	s := a.signIn()
	a.network.fail(func(r *http.Request) (*http.Response, error) {
		kept.fail(errors.New("the disk is full"))
		return http.DefaultTransport.RoundTrip(r)
	})
	if err := a.StepUp(t.Context(), s, a.otp("alice"), secondFactor); !errors.Is(err, latchkey.ErrUnavailable) || len(a.network.take()) != 1 {
		t.Errorf("failed with %v", err)
	}
	stored, err := kept.Load(t.Context(), s.ID())
	if err != nil || stored.Pending == nil {
		t.Fatalf("a crash now loses the session: %v", err)
	}
	a.issuer.Advance(2 * time.Minute)
	kept.fail(nil)
	if _, err := a.AccessToken(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	a.requireUsable(s)
	if a.acr(s) != "urn:latchkey:acr:2" {
		t.Error("the step-up is lost")
	}
}

func TestARefreshResolvesTheStepUpOfAnotherProcess(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use, func(o *latchkey.ClientOptions) { o.RetryWindow = 3 * time.Second })
	s := a.signIn()
	b := a.client(kept.use)
	other := b.RestoreSession(s.Tokens(), nil)
	used := 0
	a.network.fail(func(r *http.Request) (*http.Response, error) {
		answer, err := loseResponse(r)
		for range 3 { // by now the token that was sent would end the session
			if b.RefreshSession(t.Context(), other) == nil {
				used++
			}
		}
		return answer, err
	})
	if err := a.StepUp(t.Context(), s, a.otp("alice"), secondFactor); err != nil || used != 3 {
		t.Errorf("the step-up: %v after %d refreshes", err, used)
	}
	if a.acr(s) != "urn:latchkey:acr:2" || s.Tokens().Generation < other.Tokens().Generation {
		t.Error("it does not have the tokens that the other process got")
	}
	a.requireUsable(s)
	if err := b.RefreshSession(t.Context(), other); err != nil {
		t.Error(err)
	}
}

func TestTheFirstOfTwoRequestsOfAStepUpMayArriveLast(t *testing.T) {
	t.Parallel()
	a := newApp(t, shortRetryWindow)
	s := a.signIn()
	a.network.fail(loseResponse, respondWith(400, jsonType, `{"error":"invalid_request","latchkey_reason":"subject_token_spent"}`))
	if err := a.StepUp(t.Context(), s, a.otp("alice"), secondFactor); err != nil {
		t.Fatal(err)
	}
	a.requireUsable(s)
}

func TestARefreshThatOverlapsAStepUpKeepsTheNewerTokens(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]latchkey.Target{"the session's own token": {}, "a token for a target": {Audience: []string{"orders"}}} {
		kept := newTestStore()
		a := newApp(t, kept.use)
		s := a.signInFor(latchkey.CreateParams{Audience: []string{"web", "orders"}})
		b := a.client(kept.use)
		other := b.RestoreSession(s.Tokens(), nil)
		a.network.fail(func(r *http.Request) (*http.Response, error) { // the refresh is overtaken
			if err := a.StepUp(t.Context(), s, a.otp("alice"), secondFactor); err != nil {
				t.Error(err)
			}
			return http.DefaultTransport.RoundTrip(r)
		})
		if _, err := b.ReplaceToken(t.Context(), other, target, other.Tokens().AccessToken); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, want := other.Tokens(), s.Tokens(); got.RefreshToken != want.RefreshToken || got.Generation != want.Generation || got.AccessToken != want.AccessToken {
			t.Errorf("%s: the refresh went back to older tokens", name)
		}
		if stored, _ := kept.Load(t.Context(), s.ID()); stored.RefreshToken != s.Tokens().RefreshToken {
			t.Errorf("%s: the store has older tokens", name)
		}
		a.issuer.Advance(time.Hour)
		a.requireUsable(s)
	}
}

func TestARefreshThatOverlapsALostStepUpLeavesItPending(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use, func(o *latchkey.ClientOptions) { o.RetryWindow = 300 * time.Millisecond })
	s := a.signIn()
	b := a.client(kept.use)
	other := b.RestoreSession(s.Tokens(), nil)
	a.network.fail(func(r *http.Request) (*http.Response, error) { // the refresh is overtaken
		a.loseStepUp(s, a.otp("alice"), loseResponse)
		return http.DefaultTransport.RoundTrip(r)
	})
	if err := b.RefreshSession(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if stored, err := kept.Load(t.Context(), s.ID()); err != nil || stored.Pending == nil {
		t.Errorf("the step-up is no longer pending: %v", err)
	}
	a.requireUsable(s)
}

func TestNewerTokensOfTheStoreAreNotOverwritten(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use)
	s := a.signIn()
	b := a.client(kept.use)
	other := b.RestoreSession(s.Tokens(), nil)
	a.network.fail(func(r *http.Request) (*http.Response, error) { // its answer is slow
		answer, err := http.DefaultTransport.RoundTrip(r)
		for range 3 {
			if err := b.RefreshSession(t.Context(), other); err != nil {
				t.Error(err)
			}
		}
		return answer, err
	})
	if err := a.RefreshSession(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	newest := other.Tokens()
	if stored, _ := kept.Load(t.Context(), s.ID()); stored.RefreshToken != newest.RefreshToken || s.Tokens().RefreshToken != newest.RefreshToken {
		t.Error("older tokens took the place of newer ones")
	}
	a.requireUsable(s)
}

func TestOlderTokensOfTheStoreAreIgnored(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use)
	s := a.signIn()
	old := kept.rows[s.ID()]
	for range 2 {
		if err := a.RefreshSession(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	kept.rows[s.ID()] = old // a replica, or a backup
	a.issuer.Advance(time.Hour)
	a.requireUsable(s)
}

func TestOfTwoStepUpsTheOneWithTheLaterProofIsKept(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use)
	s := a.signIn()
	b := a.client(kept.use)
	other := b.RestoreSession(s.Tokens(), nil)
	first := a.otp("alice")
	a.network.fail(func(r *http.Request) (*http.Response, error) {
		answer, err := http.DefaultTransport.RoundTrip(r)
		kept.rows[s.ID()] = other.Tokens().Serialize() // the other process has not seen the first step-up
		a.issuer.Advance(2 * time.Second)
		if err := b.StepUp(t.Context(), other, a.issuer.ClientToken("alice", latchkeytest.Claims{"amr": []string{"hwk"}}), latchkey.StepUpParams{Demand: latchkey.Demand{MaxAge: new(time.Second)}}); err != nil {
			t.Error(err)
		}
		return answer, err
	})
	if err := a.StepUp(t.Context(), s, first, secondFactor); err != nil {
		t.Fatal(err)
	}
	if s.Tokens().Generation != other.Tokens().Generation || s.Tokens().AccessToken != other.Tokens().AccessToken {
		t.Error("the answer with the earlier proof won")
	}
	a.requireUsable(s)
}

func TestASupersededTokenIsReplacedByTheStoredOne(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ refresh, reason string }{
		"a refresh token": {"keep", latchkey.ReasonRefreshSuperseded},
		"a session token": {"", latchkey.ReasonSessionTokenSuperseded},
	} {
		kept := newTestStore()
		a := newApp(t, kept.use, confidential)
		s := a.signIn()
		old := s.Tokens()
		if c.refresh == "" {
			old.RefreshToken = ""
		}
		restored := old
		restored.RefreshToken = "" // the session token identifies the session
		if c.refresh == "" {
			restored = s.Tokens()
		}
		kept.rows[s.ID()] = restored.Serialize()
		s = a.RestoreSession(restored, nil)
		if err := a.StepUp(t.Context(), s, a.otp("alice"), secondFactor); err != nil {
			t.Fatal(err)
		}
		newest := kept.rows[s.ID()]
		b := a.client(kept.use, confidential)
		stale := b.RestoreSession(old, nil)
		kept.rows[s.ID()] = old.Serialize()
		err := b.RefreshSession(t.Context(), stale)
		refusal := (*latchkey.Error)(nil)
		if !errors.As(err, &refusal) || refusal.Reason != c.reason || errors.Is(err, latchkey.ErrSessionEnded) || errors.Is(err, latchkey.ErrUnavailable) || stale.Err() != nil {
			t.Errorf("%s, with nothing newer in the store: %v", name, err)
		}
		stale = b.RestoreSession(old, nil)                             // a Session does not send a superseded refresh token twice
		a.network.fail(func(r *http.Request) (*http.Response, error) { // the newer tokens are stored while the request is in progress
			kept.mu.Lock()
			kept.rows[s.ID()] = newest
			kept.mu.Unlock()
			return http.DefaultTransport.RoundTrip(r)
		})
		a.network.take()
		if err := b.RefreshSession(t.Context(), stale); err != nil || stale.Tokens().RefreshToken != s.Tokens().RefreshToken || len(a.network.take()) != 1 {
			t.Errorf("%s, with newer ones in the store: %v", name, err)
		}
		if !a.issuer.SessionActive(s.ID()) {
			t.Errorf("%s ended the session", name)
		}
	}
}

func TestALostRefreshIsAnsweredMuchLaterAndAfterARestart(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use, shortRetryWindow)
	s := a.signIn()
	a.network.failAlways(loseResponse)
	if err := a.RefreshSession(t.Context(), s); !errors.Is(err, latchkey.ErrUnavailable) {
		t.Fatal(err)
	}
	a.network.fail()
	a.issuer.Advance(10 * time.Hour)
	stored, err := kept.Load(t.Context(), s.ID())
	if err != nil {
		t.Fatal(err)
	}
	b := a.client(kept.use)
	restored := b.RestoreSession(stored, nil)
	if _, err := b.AccessToken(t.Context(), restored); err != nil {
		t.Error(err)
	}
	a.requireUsable(s)
}

func TestManyCallsSendAPendingStepUpOnce(t *testing.T) {
	t.Parallel()
	a := newApp(t, shortRetryWindow)
	s := a.signIn()
	otp := a.otp("alice")
	a.loseStepUp(s, otp, loseResponse)
	var all, begun sync.WaitGroup
	begun.Add(32)
	a.network.fail(func(r *http.Request) (*http.Response, error) {
		begun.Wait()
		return http.DefaultTransport.RoundTrip(r)
	})
	for range 32 {
		all.Go(func() {
			begun.Done()
			if _, err := a.AccessToken(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(a.network.take()); n != 1 {
		t.Errorf("%d requests", n)
	}
	a.requireUsable(s)
}

func TestAnOutageWithAPendingStepUpDelaysOneCallOnly(t *testing.T) {
	t.Parallel()
	a := newApp(t, func(o *latchkey.ClientOptions) { o.RetryWindow = 300 * time.Millisecond })
	s := a.signIn()
	a.loseStepUp(s, a.otp("alice"), loseResponse)
	a.network.failAlways(respondWith(503, jsonType, `{"error":"temporarily_unavailable"}`, "Retry-After", "60"))
	for range 3 {
		if got, err := a.AccessToken(t.Context(), s); err != nil || got.AccessToken != s.Tokens().AccessToken {
			t.Errorf("the old token is not given out: %v", err)
		}
	}
	if n := len(a.network.take()); n != 1 {
		t.Errorf("%d requests", n)
	}
	a.issuer.Advance(20 * time.Second)
	a.network.fail()
	if _, err := a.AccessToken(t.Context(), s); err != nil || a.acr(s) != "urn:latchkey:acr:2" {
		t.Errorf("afterwards: %v", err)
	}
}

func TestAPendingStepUpIsSerializedAndNotPrinted(t *testing.T) {
	t.Parallel()
	a := newApp(t, func(o *latchkey.ClientOptions) { o.RetryWindow = 300 * time.Millisecond })
	s := a.signIn()
	otp := a.otp("alice")
	demand := latchkey.StepUpParams{SubjectTokenType: latchkey.TokenTypeIDToken, Demand: latchkey.Demand{ACRValues: []string{"phr", "a"}, MaxAge: new(90 * time.Second)}}
	a.network.failAlways(dropRequest)
	if err := a.StepUp(t.Context(), s, otp, demand); !errors.Is(err, latchkey.ErrUnavailable) {
		t.Fatal(err)
	}
	tokens := s.Tokens()
	read, err := latchkey.ParseTokens(tokens.Serialize())
	if err != nil || read.Pending == nil || read.Pending.ClientToken != otp {
		t.Fatalf("read %v, %v", read, err)
	}
	if p := read.Pending.Params; p.SubjectTokenType != demand.SubjectTokenType || strings.Join(p.ACRValues, " ") != "phr a" || p.MaxAge == nil || *p.MaxAge != 90*time.Second {
		t.Error("the request is not the same")
	}
	var out bytes.Buffer
	for _, value := range []any{s, tokens, tokens.Pending, *tokens.Pending, []any{*tokens.Pending}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(encoded)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "value", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "value", value)
	}
	if strings.Contains(out.String(), otp) || strings.Contains(out.String(), fmt.Sprintf("%x", otp)) {
		t.Error("the client token is printed")
	}
}
