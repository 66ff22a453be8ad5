package latchkey_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// testStore keeps sessions as text, as a database would.
type testStore struct {
	mu      sync.Mutex
	rows    map[string][]byte
	failing error
	saves   int
}

func newTestStore() *testStore { return &testStore{rows: map[string][]byte{}} }

func (s *testStore) use(o *latchkey.ClientOptions) { o.Store = s }

func (s *testStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = err
}

func (s *testStore) Load(_ context.Context, id string) (latchkey.Tokens, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows[id] == nil {
		return latchkey.Tokens{}, latchkey.ErrSessionEnded
	}
	return latchkey.ParseTokens(s.rows[id])
}

func (s *testStore) Save(_ context.Context, id string, t latchkey.Tokens) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	if s.failing != nil {
		return s.failing
	}
	s.rows[id] = t.Serialize()
	return nil
}

func TestTokensAreSavedBeforeTheyAreReturned(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use, shortRetryWindow)
	s := a.signIn()
	before := s.Tokens()
	if stored, err := kept.Load(t.Context(), s.ID()); err != nil || !stored.Expiry.Equal(before.Expiry) || stored.RefreshToken != before.RefreshToken {
		t.Fatalf("kept %v, %v", stored, err)
	}
	outage := errors.New("the disk is full")
	kept.fail(outage)
	if err := a.RefreshSession(t.Context(), s); !errors.Is(err, latchkey.ErrUnavailable) || !errors.Is(err, outage) {
		t.Errorf("failed with %v", err)
	}
	if s.Tokens() != before {
		t.Error("tokens were handed out that are not saved")
	}
	if sent := a.network.take(); len(sent) != 1 || kept.saves < 3 {
		t.Errorf("%d requests and %d saves", len(sent), kept.saves)
	}
	// The retry window is over: no other request may be sent.
	a.issuer.Advance(time.Minute)
	kept.fail(nil)
	if err := a.RefreshSession(t.Context(), s); err != nil || s.Tokens() == before || len(a.network.take()) != 0 {
		t.Errorf("afterwards: %v", err)
	}
	a.requireUsable(s)
}

func TestACrashBeforeTheTokensAreSavedLosesNothing(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use, shortRetryWindow)
	s := a.signIn()
	kept.fail(errors.New("crash"))
	if err := a.RefreshSession(t.Context(), s); err == nil {
		t.Fatal("the tokens were saved")
	}
	kept.fail(nil)
	stored, err := kept.Load(t.Context(), s.ID())
	if err != nil {
		t.Fatal(err)
	}
	again := a.client(kept.use) // another process
	restored := again.RestoreSession(stored, nil)
	if err := again.RefreshSession(t.Context(), restored); err != nil {
		t.Fatal(err)
	}
	a.requireUsable(restored)
}

func TestSessionsShareTokensThroughTheStore(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use)
	s := a.signIn()
	b := a.client(kept.use) // another process
	stale := b.RestoreSession(s.Tokens(), nil)
	for range 3 { // by now the token of the stale session would end it
		if err := a.RefreshSession(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	a.network.take()
	if err := b.RefreshSession(t.Context(), stale); err != nil || stale.Tokens().RefreshToken != s.Tokens().RefreshToken || len(a.network.take()) != 0 {
		t.Errorf("the stale session: %v", err)
	}
	a.issuer.Advance(time.Hour)
	if err := b.RefreshSession(t.Context(), stale); err != nil {
		t.Error(err)
	}
	a.requireUsable(s)
}

func TestASessionThatIsNotInTheStoreHasEnded(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use)
	s := a.signIn()
	delete(kept.rows, s.ID())
	if err := a.RefreshSession(t.Context(), s); !errors.Is(err, latchkey.ErrSessionEnded) || len(a.network.take()) != 0 {
		t.Errorf("refreshed: %v", err)
	}
}

func TestASessionThatCannotBeSavedIsRevoked(t *testing.T) {
	t.Parallel()
	kept := newTestStore()
	a := newApp(t, kept.use)
	kept.fail(errors.New("the disk is full"))
	if s, err := a.CreateSession(t.Context(), a.issuer.ClientToken("alice"), latchkey.CreateParams{}); s != nil || !errors.Is(err, latchkey.ErrUnavailable) {
		t.Fatalf("made %v, %v", s, err)
	}
	sent := a.network.take()
	if last := sent[len(sent)-1]; !last.Has("token") {
		t.Errorf("it was not revoked: %v", last)
	}
}

func TestTokensSurviveSerialization(t *testing.T) {
	t.Parallel()
	a := newApp(t, confidential)
	before := a.signIn().Tokens()
	after, err := latchkey.ParseTokens(before.Serialize())
	if err != nil || !after.Expiry.Equal(before.Expiry) || !after.SessionExpiry.Equal(before.SessionExpiry) {
		t.Fatal(after, err)
	}
	after.Expiry, after.SessionExpiry = before.Expiry, before.SessionExpiry
	if !reflect.DeepEqual(after, before) || before.SessionToken == "" {
		t.Errorf("read %s", after.Serialize())
	}
	for _, text := range []string{"", "{}", `{"session_id":1}`, "[]"} {
		if _, err := latchkey.ParseTokens([]byte(text)); err == nil {
			t.Errorf("read %q", text)
		}
	}
}

func TestTokensAreNotPrinted(t *testing.T) {
	t.Parallel()
	a := newApp(t, confidential)
	s := a.signIn()
	tokens := s.Tokens()
	var out bytes.Buffer
	text, json1 := slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))
	for _, value := range []any{s, tokens, &tokens, []any{s, tokens}, struct{ T latchkey.Tokens }{tokens}, map[string]latchkey.Tokens{"a": tokens}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		text.Info("a session", "session", value)
		json1.Info("a session", "session", value)
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(encoded)
	}
	for _, secret := range []string{tokens.AccessToken, tokens.RefreshToken, tokens.SessionToken} {
		for _, form := range []string{secret, fmt.Sprintf("%x", secret)} {
			if secret == "" || strings.Contains(out.String(), form) {
				t.Errorf("a token is printed")
			}
		}
	}
}

func TestTheSessionIDIsPrinted(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := a.signIn()
	for name, value := range map[string]any{"a session": s, "its tokens": s.Tokens()} {
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("made", "s", value)
		if !strings.Contains(string(encoded), `"session_id":"`+s.ID()) || !strings.Contains(out.String(), "s.session_id="+s.ID()) || fmt.Sprint(value) != "session "+s.ID() {
			t.Errorf("%s: %s, %s, %v", name, encoded, out.String(), value)
		}
	}
}

func TestAnExchangeSendsAllParameters(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	_, err := a.CreateSession(t.Context(), a.issuer.ClientToken("alice", latchkeytest.Claims{"amr": []string{"pwd", "otp"}}), latchkey.CreateParams{
		SubjectTokenType: latchkey.TokenTypeIDToken, Scope: []string{"profile", "orders:read"}, Audience: []string{"web", "api"},
		Resource: []string{"https://api.example.com"}, DeviceName: "Alice's phone",
		Demand: latchkey.Demand{ACRValues: []string{"phr", "urn:latchkey:acr:2"}, MaxAge: new(90 * time.Second)},
	})
	if err != nil {
		t.Fatal(err)
	}
	form := a.network.take()[0]
	form.Del("subject_token")
	want := `map[acr_values:[phr urn:latchkey:acr:2] audience:[web api] client_id:[web] grant_type:[urn:ietf:params:oauth:grant-type:token-exchange]` +
		` latchkey_device_name:[Alice's phone] max_age:[90] resource:[https://api.example.com] scope:[profile orders:read]` +
		` subject_token_type:[urn:ietf:params:oauth:token-type:id_token]]`
	if got := fmt.Sprint(map[string][]string(form)); got != want {
		t.Errorf("sent\n%s, want\n%s", got, want)
	}
}

func TestAClientTokenIsSentAgainButAcceptedOnce(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	a.network.fail(dropRequest, respondWith(502, htmlType, ""))
	if _, err := a.CreateSession(t.Context(), a.issuer.ClientToken("alice"), latchkey.CreateParams{}); err != nil {
		t.Error(err)
	}
	a.network.fail(loseResponse)
	_, err := a.CreateSession(t.Context(), a.issuer.ClientToken("alice"), latchkey.CreateParams{})
	if refusal := (*latchkey.Error)(nil); !errors.As(err, &refusal) || refusal.Code != "invalid_request" {
		t.Errorf("a lost answer: %v", err)
	}
}

func TestAClientAuthenticatesByBasic(t *testing.T) {
	t.Parallel()
	a := newApp(t, confidential)
	var header http.Header
	a.network.fail(func(r *http.Request) (*http.Response, error) {
		header = r.Header
		return dropRequest(r)
	})
	c := a.client(func(o *latchkey.ClientOptions) { o.ClientSecret = "sp:ce+ %é" })
	if _, err := c.CreateSession(latchkey.WithUserAgent(t.Context(), "Mozilla/5.0"), a.issuer.ClientToken("alice"), latchkey.CreateParams{}); err != nil {
		t.Fatal(err)
	}
	r := http.Request{Header: header}
	if id, secret, _ := r.BasicAuth(); id != "web" || secret != "sp%3Ace%2B+%25%C3%A9" || header.Get("User-Agent") != "Mozilla/5.0" {
		t.Errorf("sent %q", header)
	}
	for _, form := range a.network.take() {
		if form.Has("client_id") || form.Has("client_secret") {
			t.Errorf("sent %v", form)
		}
	}
}

func TestATokenTypeIsComparedWithoutCase(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{"Bearer": true, "bearer": true, "BEARER": true, "DPoP": false, "N_A": false, "": false} {
		a := newApp(t, func(o *latchkey.ClientOptions) { o.RetryWindow = 600 * time.Millisecond })
		s := a.signIn()
		a.network.failAlways(respondWith(200, jsonType, `{"access_token":"a","token_type":"`+name+`","expires_in":300,"session_id":"`+s.ID()+`","session_expires_at":2000000000}`))
		if err := a.RefreshSession(t.Context(), s); (err == nil) != ok || !ok && !errors.Is(err, latchkey.ErrUnavailable) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestSignOutEndsASession(t *testing.T) {
	t.Parallel()
	a := newApp(t, shortRetryWindow)
	s := a.signIn()
	a.network.failAlways(dropRequest)
	if err := a.SignOut(t.Context(), s); !errors.Is(err, latchkey.ErrUnavailable) || s.Err() != nil {
		t.Errorf("with no network: %v, %v", err, s.Err())
	}
	a.network.fail(respondWith(200, htmlType, "<h1>Welcome</h1>"), respondWith(204, "", "x"), dropRequest) // none of these confirms the revocation
	if err := a.SignOut(t.Context(), s); err != nil || a.issuer.SessionActive(s.ID()) {
		t.Errorf("signed out: %v", err)
	}
	if n := len(a.network.take()); n < 4 {
		t.Errorf("%d requests", n)
	}
	if _, err := a.AccessToken(t.Context(), s); !errors.Is(err, latchkey.ErrSessionEnded) {
		t.Errorf("used afterwards: %v", err)
	}
	if err := a.SignOut(t.Context(), s); err != nil || len(a.network.take()) != 0 {
		t.Errorf("again: %v", err)
	}
}

func TestValidateSessionDistinguishesRejectedFromUnavailable(t *testing.T) {
	t.Parallel()
	a := newApp(t, confidential, shortRetryWindow)
	s := a.signIn()
	for _, token := range []string{s.Tokens().AccessToken, s.Tokens().SessionToken} {
		d, err := a.ValidateSession(t.Context(), token)
		if err != nil || d.ID != s.ID() || d.Subject != "alice" || !d.Active() || d.IdleExpiresAt != nil || d.ExpiresAt.Unix() != s.Tokens().SessionExpiry.Unix() {
			t.Errorf("%+v, %v", d, err)
		}
	}
	a.issuer.SetDown(true)
	if _, err := a.ValidateSession(t.Context(), s.Tokens().AccessToken); !errors.Is(err, latchkey.ErrUnavailable) || errors.Is(err, latchkey.ErrInvalidToken) {
		t.Errorf("an outage: %v", err)
	}
	a.issuer.SetDown(false)
	a.issuer.RevokeSession(s.ID())
	if _, err := a.ValidateSession(t.Context(), s.Tokens().AccessToken); !errors.Is(err, latchkey.ErrInvalidToken) || errors.Is(err, latchkey.ErrSessionEnded) {
		t.Errorf("an access token: %v", err)
	}
	if _, err := a.ValidateSession(t.Context(), s.Tokens().SessionToken); !errors.Is(err, latchkey.ErrInvalidToken) || !errors.Is(err, latchkey.ErrSessionEnded) {
		t.Errorf("a session token: %v", err)
	}
	if _, err := a.ValidateSession(t.Context(), ""); !errors.Is(err, latchkey.ErrInvalidToken) {
		t.Errorf("no token: %v", err)
	}
}

func TestNewClientRejects(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		issuer, id string
		o          latchkey.ClientOptions
	}{
		"no client":             {"https://id.example.com", "", latchkey.ClientOptions{}},
		"plain HTTP":            {"http://id.example.com", "web", latchkey.ClientOptions{}},
		"a slash at the end":    {"https://id.example.com/", "web", latchkey.ClientOptions{}},
		"no issuer":             {"", "web", latchkey.ClientOptions{}},
		"a window below zero":   {"https://id.example.com", "web", latchkey.ClientOptions{RetryWindow: -1}},
		"credentials in a URL":  {"https://a:b@id.example.com", "web", latchkey.ClientOptions{}},
		"a query in the issuer": {"https://id.example.com?a=b", "web", latchkey.ClientOptions{}},
	} {
		if _, err := latchkey.NewClient(c.issuer, c.id, c.o); err == nil {
			t.Errorf("takes %s", name)
		}
	}
}
