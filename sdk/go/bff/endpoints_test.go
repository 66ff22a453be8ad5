package bff_test

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// endpoint sends a request to the endpoints, like the browser client. A body
// that is not empty is sent as JSON.
func (w *testApp) endpoint(method, path string, body map[string]any, header ...string) (answer, map[string]any) {
	w.t.Helper()
	text := ""
	if body != nil {
		encoded, err := json.Marshal(body)
		must(w.t, err)
		text = string(encoded)
		header = append([]string{"Content-Type", "application/json"}, header...)
	}
	a := w.sendText(method, "/auth"+path, text, header...)
	if strings.Contains(a.text, "eyJ") || strings.Contains(a.text, "lk_") {
		w.t.Errorf("%s %s shows a token: %s", method, path, a.text)
	}
	var out map[string]any
	if a.text != "" {
		must(w.t, json.Unmarshal([]byte(a.text), &out))
	}
	if cc := a.Header.Get("Cache-Control"); cc != "no-store" {
		w.t.Errorf("%s %s has Cache-Control %q", method, path, cc)
	}
	return a, out
}

func (w *testApp) create(sub string) map[string]any {
	w.t.Helper()
	a, out := w.endpoint("POST", "/session", map[string]any{"client_token": w.issuer.ClientToken(sub), "device_name": "Tablet"})
	if a.StatusCode != http.StatusOK || len(a.Cookies()) != 1 {
		w.t.Fatalf("signing in answered %d %s", a.StatusCode, a.text)
	}
	return out["session"].(map[string]any)
}

func TestAPageSignsInAndOutThroughTheEndpoints(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	if a, out := w.endpoint("GET", "/session", nil); a.StatusCode != 200 || len(out) != 1 || out["session"] != nil {
		t.Fatalf("before: %d %s", a.StatusCode, a.text)
	}
	s := w.create("alice")
	claims := s["claims"].(map[string]any)
	if s["id"] != w.session() || claims["sub"] != "alice" || !reflect.DeepEqual(claims["aud"], []any{"web", "https://api.example.com"}) || s["expires_in"].(float64) < 60 || s["expires_at"].(float64) <= float64(w.issuer.Now().Unix()) {
		t.Errorf("the session is %v", s)
	}
	if _, out := w.endpoint("GET", "/session", nil); !reflect.DeepEqual(out["session"], s) {
		t.Errorf("it is read as %v", out)
	}
	if a := w.get("/api/orders"); a.StatusCode != 200 {
		t.Errorf("the proxy answers %d", a.StatusCode)
	}
	a, _ := w.endpoint("DELETE", "/session", nil)
	if a.StatusCode != 204 || len(a.Cookies()) != 1 || a.Cookies()[0].MaxAge >= 0 {
		t.Errorf("signing out: %d %v", a.StatusCode, a.Cookies())
	}
	if _, out := w.endpoint("GET", "/session", nil); out["session"] != nil || w.issuer.SessionActive(s["id"].(string)) {
		t.Error("the session goes on")
	}
}

func TestTheEndpointsRefresh(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.create("alice")
	issued := func(path, method string) any {
		a, out := w.endpoint(method, path, nil)
		if a.StatusCode != 200 {
			t.Fatalf("%s %s: %d %s", method, path, a.StatusCode, a.text)
		}
		return out["session"].(map[string]any)["claims"].(map[string]any)["jti"]
	}
	first := issued("/session", "GET")
	if again := issued("/session", "GET"); again != first {
		t.Error("reading the session refreshes a fresh token")
	}
	second := issued("/refresh", "POST")
	if second == first {
		t.Error("/refresh does not refresh")
	}
	w.issuer.Advance(time.Hour)
	if third := issued("/session", "GET"); third == second {
		t.Error("an expired token is not refreshed")
	}
}

func TestTheEndpointsStepUp(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.create("alice")
	body := map[string]any{"client_token": w.otp(), "acr_values": []string{"urn:latchkey:acr:2"}, "max_age": 60}
	a, out := w.endpoint("POST", "/step-up", body)
	if a.StatusCode != 200 || len(a.Cookies()) != 1 || out["session"].(map[string]any)["claims"].(map[string]any)["acr"] != "urn:latchkey:acr:2" {
		t.Fatalf("answered %d %s", a.StatusCode, a.text)
	}
	if again, repeated := w.endpoint("POST", "/step-up", body); again.StatusCode != 200 || len(again.Cookies()) != 0 || !reflect.DeepEqual(repeated, out) {
		t.Errorf("a repetition with the new cookie: %d %s", again.StatusCode, again.text)
	}
	a, out = w.endpoint("POST", "/step-up", map[string]any{"client_token": w.issuer.ClientToken("mallory")})
	if a.StatusCode != 400 || out["error"] != "invalid_request" {
		t.Errorf("another user's token: %d %s", a.StatusCode, a.text)
	}
	if w.session() == "" {
		t.Error("the session is lost")
	}
}

// A page whose request is under way while another tab steps up must not be told
// that nobody is signed in; and the old cookie must not be worth anything.
func TestAReplacedCookieMeansTryAgain(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	old := w.signIn()
	w.cookie(w.send("POST", "/step-up", map[string][]string{"client_token": {w.otp()}}))
	w.api.take()
	w.useCookie(old)
	for range 2 {
		if a, _ := w.endpoint("GET", "/session", nil); a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || len(a.Cookies()) != 0 {
			t.Errorf("reading the session answers %d %s", a.StatusCode, a.text)
		}
		if a := w.get("/api/orders"); a.StatusCode != 503 || len(w.api.take()) != 0 {
			t.Errorf("the proxy answers %d", a.StatusCode)
		}
	}
	w.issuer.Advance(time.Minute)
	if a, out := w.endpoint("GET", "/session", nil); a.StatusCode != 200 || out["session"] != nil {
		t.Errorf("a minute later: %d %s", a.StatusCode, a.text)
	}
}

func TestThePageLearnsWhyASessionEnded(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(w *testApp) (answer, map[string]any){
		"from the session":     func(w *testApp) (answer, map[string]any) { return w.endpoint("GET", "/session", nil) },
		"from the proxy":       func(w *testApp) (answer, map[string]any) { return w.endpoint("GET", "/../api/orders", nil) },
		"from a refresh":       func(w *testApp) (answer, map[string]any) { return w.endpoint("POST", "/refresh", nil) },
		"from the session API": func(w *testApp) (answer, map[string]any) { return w.endpoint("GET", "/sessions", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestApp(t)
			w.create("alice")
			w.issuer.Advance(time.Hour)
			w.refusing(`{"error":"invalid_grant","latchkey_reason":"session_ended","latchkey_end_reason":"revoked_by_user"}`)
			a, out := ask(w)
			if want := map[bool]int{true: 200, false: 401}[name == "from the session"]; a.StatusCode != want || out["latchkey_end_reason"] != "revoked_by_user" {
				t.Errorf("answered %d %s", a.StatusCode, a.text)
			}
			if _, out := w.endpoint("GET", "/session", nil); out["session"] != nil {
				t.Error("the session goes on")
			}
		})
	}
}

func TestTheEndpointsListAndEndSessions(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.create("alice")
	own := w.session()
	elsewhere := func() string {
		s, err := w.client.CreateSession(t.Context(), w.issuer.ClientToken("alice"), latchkey.CreateParams{})
		must(t, err)
		return s.ID()
	}
	ids := func() (list []string) {
		_, out := w.endpoint("GET", "/sessions", nil)
		for _, item := range out["items"].([]any) {
			s := item.(map[string]any)
			list = append(list, s["id"].(string))
			if s["current"] != (s["id"] == own) {
				t.Errorf("session %v is current: %v", s["id"], s["current"])
			}
		}
		return list
	}
	second, third := elsewhere(), elsewhere()
	if got := ids(); len(got) != 3 || !slices.Contains(got, own) {
		t.Fatalf("the list is %v", got)
	}
	if a, _ := w.endpoint("DELETE", "/sessions/"+second, nil); a.StatusCode != 204 || w.issuer.SessionActive(second) {
		t.Errorf("ending one: %d", a.StatusCode)
	}
	if a, out := w.endpoint("DELETE", "/sessions/none", nil); a.StatusCode != 404 || out["error"] != "not_found" {
		t.Errorf("ending none: %d %v", a.StatusCode, out)
	}
	if a, _ := w.endpoint("DELETE", "/session?scope=others", nil); a.StatusCode != 204 || w.issuer.SessionActive(third) || w.session() != own {
		t.Errorf("ending the others: %d", a.StatusCode)
	}
	fourth := elsewhere()
	if a, _ := w.endpoint("DELETE", "/session?scope=all", nil); a.StatusCode != 204 || w.issuer.SessionActive(fourth) || w.issuer.SessionActive(own) || w.session() != "" {
		t.Errorf("ending all: %d", a.StatusCode)
	}
	w.create("alice")
	if a, _ := w.endpoint("DELETE", "/sessions/"+w.session(), nil); a.StatusCode != 204 || w.session() != "" {
		t.Errorf("ending its own: %d", a.StatusCode)
	}
	if a, out := w.endpoint("DELETE", "/session?scope=some", nil); a.StatusCode != 400 || out["error"] != "invalid_request" {
		t.Errorf("an unknown scope: %d", a.StatusCode)
	}
}

func TestTheEndpointsRejectForgedRequests(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.create("alice")
	for name, header := range map[string][]string{
		"without the header":     {bff.CSRFHeader, ""},
		"from another site":      {"Sec-Fetch-Site", "cross-site"},
		"from another origin":    {"Sec-Fetch-Site", "", "Origin", "https://evil.example.com"},
		"from another subdomain": {"Sec-Fetch-Site", "same-site"},
	} {
		for path, method := range map[string]string{"/session": "DELETE", "/refresh": "POST", "/step-up": "POST", "/sessions/x": "DELETE"} {
			if a, out := w.endpoint(method, path, nil, header...); a.StatusCode != 403 || out["error"] != "request_forged" {
				t.Errorf("%s: %s %s answers %d", name, method, path, a.StatusCode)
			}
		}
	}
	if a, _ := w.endpoint("GET", "/session", nil, bff.CSRFHeader, ""); a.StatusCode != 403 {
		t.Errorf("reading without the header: %d", a.StatusCode)
	}
	token := map[string]any{"client_token": w.issuer.ClientToken("mallory")}
	if a, _ := w.endpoint("POST", "/session", token, "Content-Type", "text/plain"); a.StatusCode != 400 {
		t.Errorf("a form of another site: %d", a.StatusCode)
	}
	if _, out := w.endpoint("GET", "/session", nil); out["session"] == nil {
		t.Error("alice is signed out")
	}
}

func TestTheEndpointsKeepTheSessionWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.create("alice")
	w.issuer.Advance(time.Hour)
	w.losing(true)
	for path, method := range map[string]string{"/session": "GET", "/refresh": "POST", "/sessions": "GET"} {
		if a, out := w.endpoint(method, path, nil); a.StatusCode != 503 || out["error"] != "temporarily_unavailable" {
			t.Errorf("%s %s: %d %s", method, path, a.StatusCode, a.text)
		}
	}
	w.losing(false)
	if _, out := w.endpoint("GET", "/session", nil); out["session"] == nil {
		t.Error("the session is lost")
	}
}

func TestTheEndpointsExplainAnInvalidClientToken(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	body := map[string]any{"client_token": w.issuer.ClientToken("alice")}
	for refusal, want := range map[string]map[string]any{
		`{"error":"invalid_request","latchkey_reason":"subject_token_expired","error_description":"exp is in the past"}`: {
			"error": "invalid_request", "latchkey_reason": "subject_token_expired", "error_description": "exp is in the past",
		},
		`{"error":"invalid_client"}`: {"error": "bad_gateway"}, // the user cannot fix that
	} {
		w.refusing(refusal)
		if a, out := w.endpoint("POST", "/session", body); a.StatusCode == 200 || !reflect.DeepEqual(out, want) || len(a.Cookies()) != 0 {
			t.Errorf("%s: %d %s", refusal, a.StatusCode, a.text)
		}
	}
	w.losing(false)
	if a, out := w.endpoint("POST", "/session", map[string]any{}); a.StatusCode != 400 || out["error"] != "invalid_request" {
		t.Errorf("no client token: %d %s", a.StatusCode, a.text)
	}
}

// refusing lets the issuer respond to every POST with a refusal.
func (w *testApp) refusing(body string) {
	fault := func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 400, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
	w.fault.Store(&fault)
}

func TestTheEndpointsWorkWithSealedCookies(t *testing.T) {
	t.Parallel()
	w := newTestApp(t, func(o *bff.Options) { o.CookieKeys = [][]byte{cookieKey} })
	w.create("alice")
	w.again() // restarts the back end
	if _, out := w.endpoint("GET", "/session", nil); out["session"] == nil || len(out["session"].(map[string]any)["claims"].(map[string]any)) == 0 {
		t.Errorf("after a restart: %v", out)
	}
	if a, _ := w.endpoint("POST", "/step-up", map[string]any{"client_token": w.issuer.ClientToken("alice", latchkeytest.Claims{"amr": []string{"otp"}})}); a.StatusCode != 200 {
		t.Errorf("step-up: %d %s", a.StatusCode, a.text)
	}
	if a, _ := w.endpoint("DELETE", "/session", nil); a.StatusCode != 204 || w.session() != "" {
		t.Errorf("sign-out: %d", a.StatusCode)
	}
}
