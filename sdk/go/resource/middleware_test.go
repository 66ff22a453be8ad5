package resource_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
	"github.com/latchkey/latchkey/sdk/go/resource"
)

const resourceURL = "https://api.example.com/v1"

// newMiddleware returns an issuer and middleware that trusts it.
func newMiddleware(t *testing.T, o resource.MiddlewareOptions) (*latchkeytest.Issuer, *resource.Middleware) {
	t.Helper()
	issuer := latchkeytest.New(t)
	r, err := resource.NewMiddleware(newVerifier(t, issuer, noRevocationCheck), o)
	if err != nil {
		t.Fatal(err)
	}
	return issuer, r
}

var greet = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	token := resource.TokenFromContext(r.Context())
	w.Write([]byte(token.Subject + " of " + token.Issuer))
})

// call sends a request with these Authorization headers to a protected handler.
func call(h http.Handler, target string, authorization ...string) *http.Response {
	r := httptest.NewRequest("GET", target, nil)
	r.Header["Authorization"] = authorization
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

var (
	wellFormed = regexp.MustCompile(`^Bearer( [a-z_]+="[\x20\x21\x23-\x5b\x5d-\x7e]*",)*( [a-z_]+="[\x20\x21\x23-\x5b\x5d-\x7e]*")$`)
	attribute  = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
)

// challengeOf parses the challenge of a response: quoted strings of the allowed
// characters, each parameter at most once.
func challengeOf(t *testing.T, answer *http.Response) map[string]string {
	t.Helper()
	given := answer.Header.Values("WWW-Authenticate")
	if len(given) != 1 || !wellFormed.MatchString(given[0]) {
		t.Fatalf("the challenge is %q", given)
	}
	found := map[string]string{}
	for _, m := range attribute.FindAllStringSubmatch(given[0], -1) {
		if _, twice := found[m[1]]; twice {
			t.Errorf("%s occurs twice in %q", m[1], given[0])
		}
		found[m[1]] = m[2]
	}
	return found
}

func TestTheMiddlewareAnswersWithTheRightChallenge(t *testing.T) {
	issuer, api := newMiddleware(t, resource.MiddlewareOptions{URL: resourceURL, Realm: "orders"})
	strong := latchkeytest.Claims{"scope": "a b", "acr": "phr"}
	old := latchkeytest.Claims{"scope": "a b", "acr": "phr", "auth_time": issuer.Now().Add(-time.Hour).Unix()}
	demanding := []resource.Requirement{resource.RequireScope("a"), resource.RequireScope("b"), resource.RequireACR("phrh", "phr"), resource.MaxAge(10 * time.Minute), resource.MaxAge(time.Hour)}
	stepUp := map[string]string{"error": "insufficient_user_authentication", "acr_values": "phrh phr", "max_age": "600", "scope": "a b"}
	foreign := latchkeytest.New(t)
	for name, c := range map[string]struct {
		token        string
		requirements []resource.Requirement
		status       int
		want         map[string]string // parameters of the challenge, without the common ones; nil: no challenge
	}{
		"a good token":                    {issuer.Token(), nil, 200, nil},
		"all that is demanded":            {issuer.Token(strong), demanding, 200, nil},
		"an expired token":                {issuer.ExpiredToken(), nil, 401, map[string]string{"error": "invalid_token"}},
		"a token that nobody signed":      {issuer.ForgedToken(), nil, 401, map[string]string{"error": "invalid_token"}},
		"a token of another issuer":       {foreign.Token(), nil, 401, map[string]string{"error": "invalid_token"}},
		"a token for another audience":    {issuer.Token(latchkeytest.Claims{"aud": "https://other.example.com"}), nil, 401, map[string]string{"error": "invalid_token"}},
		"an ID token with the audience":   {issuer.Sign("JWT", issuer.AccessClaims()), nil, 401, map[string]string{"error": "invalid_token"}},
		"something else":                  {"abc", nil, 401, map[string]string{"error": "invalid_token"}},
		"a scope too few":                 {issuer.Token(latchkeytest.Claims{"scope": "a"}), demanding, 403, map[string]string{"error": "insufficient_scope", "scope": "a b"}},
		"a scope that is a part of one":   {issuer.Token(latchkeytest.Claims{"scope": "ab"}), []resource.Requirement{resource.RequireScope("a")}, 403, map[string]string{"error": "insufficient_scope", "scope": "a"}},
		"no acr":                          {issuer.Token(latchkeytest.Claims{"scope": "a b"}), demanding, 401, stepUp},
		"another acr":                     {issuer.Token(latchkeytest.Claims{"scope": "a b", "acr": "pwd"}), demanding, 401, stepUp},
		"too long ago":                    {issuer.Token(old), demanding, 401, stepUp},
		"an auth_time that is to come":    {issuer.Token(strong, latchkeytest.Claims{"auth_time": issuer.Now().Add(time.Hour).Unix()}), demanding, 401, stepUp},
		"a scope after another space":     {issuer.Token(latchkeytest.Claims{"scope": "b\u00a0a\na"}), []resource.Requirement{resource.RequireScope("a")}, 403, map[string]string{"error": "insufficient_scope", "scope": "a"}},
		"no auth_time":                    {issuer.Token(strong, latchkeytest.Claims{"auth_time": nil}), demanding, 401, stepUp},
		"an expired token that lacks acr": {issuer.ExpiredToken(), demanding, 401, map[string]string{"error": "invalid_token"}},
	} {
		t.Run(name, func(t *testing.T) {
			answer := call(api.Require(c.requirements...)(greet), "/v1/orders", "bEaReR "+c.token)
			if answer.StatusCode != c.status {
				t.Errorf("status %d, want %d", answer.StatusCode, c.status)
			}
			if c.want == nil {
				if answer.Header.Get("WWW-Authenticate") != "" {
					t.Error("an unexpected challenge")
				}
				return
			}
			got := challengeOf(t, answer)
			var body struct{ Error string }
			if err := json.NewDecoder(answer.Body).Decode(&body); err != nil || body.Error != c.want["error"] {
				t.Errorf("the error in the body is %q, %v", body.Error, err)
			}
			delete(got, "error_description")
			want := map[string]string{"realm": "orders", "resource_metadata": "https://api.example.com/.well-known/oauth-protected-resource/v1"}
			maps.Copy(want, c.want)
			if !maps.Equal(got, want) {
				t.Errorf("the challenge is %q, want %q", got, want)
			}
		})
	}
}

func TestTheMiddlewareReadsTheTokenFromTheHeaderOnly(t *testing.T) {
	issuer, api := newMiddleware(t, resource.MiddlewareOptions{})
	token := issuer.Token()
	for name, c := range map[string]struct {
		target        string
		authorization []string
		status        int
		error         string
	}{
		"the header":          {"/", []string{"Bearer " + token}, 200, ""},
		"two spaces":          {"/", []string{"Bearer  " + token}, 200, ""},
		"nothing":             {"/", nil, 401, ""},
		"the query":           {"/?access_token=" + token, nil, 401, ""},
		"another scheme":      {"/", []string{"Basic YTpi"}, 401, ""},
		"twice":               {"/", []string{"Bearer " + token, "Bearer " + token}, 400, "invalid_request"},
		"Basic and Bearer":    {"/", []string{"Basic YTpi", "Bearer " + token}, 400, "invalid_request"},
		"the scheme alone":    {"/", []string{"Bearer"}, 400, "invalid_request"},
		"two tokens":          {"/", []string{"Bearer " + token + " " + token}, 400, "invalid_request"},
		"a token with quotes": {"/", []string{`Bearer "` + token + `"`}, 400, "invalid_request"},
		"padding at the end":  {"/", []string{"Bearer abc=="}, 401, "invalid_token"},
		"padding in between":  {"/", []string{"Bearer a=b"}, 400, "invalid_request"},
		"padding alone":       {"/", []string{"Bearer =="}, 400, "invalid_request"},
		"a control character": {"/", []string{"Bearer a\x01b"}, 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := call(api.Require()(greet), c.target, c.authorization...)
			if answer.StatusCode != c.status {
				t.Fatalf("status %d, want %d", answer.StatusCode, c.status)
			}
			if c.status == 200 {
				return
			}
			if got := challengeOf(t, answer); got["error"] != c.error || got["realm"] != "api" {
				t.Errorf("the challenge is %q", got)
			}
			if strings.Contains(answer.Header.Get("WWW-Authenticate"), "access_token") {
				t.Error("the challenge mentions the query")
			}
		})
	}
}

// The form of a POST belongs to the handler: the middleware does not read it.
func TestTheMiddlewareIgnoresATokenInAForm(t *testing.T) {
	issuer, api := newMiddleware(t, resource.MiddlewareOptions{})
	r := httptest.NewRequest("POST", "/", strings.NewReader("access_token="+issuer.Token()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	api.Require()(greet).ServeHTTP(w, r)
	if got := challengeOf(t, w.Result()); w.Code != 401 || got["error"] != "" {
		t.Errorf("status %d, challenge %q", w.Code, got)
	}
}

func TestTheMiddlewareAnswers503IfItCannotVerify(t *testing.T) {
	issuer, api := newMiddleware(t, resource.MiddlewareOptions{})
	if answer := call(api.Require()(greet), "/", "Bearer "+issuer.Token()); answer.StatusCode != 200 { // the keys are loaded
		t.Fatalf("status %d", answer.StatusCode)
	}
	issuer.SetDown(true)
	issuer.Advance(2 * time.Hour) // the keys have expired
	token := issuer.Token()
	answer := call(api.Require(resource.RequireScope("a"))(greet), "/", "Bearer "+token)
	if answer.StatusCode != 503 || answer.Header.Get("WWW-Authenticate") != "" || answer.Header.Get("Retry-After") == "" {
		t.Errorf("status %d with %v", answer.StatusCode, answer.Header)
	}
}

func TestNoErrorResponseRevealsTheToken(t *testing.T) {
	issuer, api := newMiddleware(t, resource.MiddlewareOptions{})
	for name, token := range map[string]string{
		"expired": issuer.ExpiredToken(latchkeytest.Claims{"sub": "marker", "sid": "marker"}),
		"foreign": issuer.ForgedToken(latchkeytest.Claims{"sub": "marker"}),
		"lacking": issuer.Token(latchkeytest.Claims{"sub": "marker", "scope": "marker", "acr": "marker"}),
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		api.Require(resource.RequireScope("a"))(greet).ServeHTTP(w, r)
		if all := w.Header().Get("WWW-Authenticate") + w.Body.String(); w.Code < 400 || strings.Contains(all, "marker") || strings.Contains(all, token) {
			t.Errorf("%s: %d %s", name, w.Code, all)
		}
	}
}

func TestAHandlerGetsTheToken(t *testing.T) {
	issuer, api := newMiddleware(t, resource.MiddlewareOptions{})
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+issuer.Token())
	authorized, ok := api.Check(w, r)
	if !ok {
		t.Fatalf("answered %d", w.Code)
	}
	greet(w, authorized)
	if got, want := w.Body.String(), latchkeytest.Subject+" of "+issuer.URL; got != want {
		t.Errorf("the handler returns %q, want %q", got, want)
	}
	if resource.TokenFromContext(r.Context()) != nil {
		t.Error("a request that was not let through carries a token")
	}
}

func TestNewMiddlewareRejects(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer, noRevocationCheck)
	if _, err := resource.NewMiddleware(nil, resource.MiddlewareOptions{}); err == nil {
		t.Error("accepts a missing verifier")
	}
	if _, err := resource.NewVerifier(issuer.URL, "", issuer.VerifierOptions()); err == nil {
		t.Error("accepts a missing audience")
	}
	for _, o := range []resource.MiddlewareOptions{
		{Realm: `a"b`}, {Realm: "a\nb"}, {URL: "http://api.example.com"}, {URL: "https://api.example.com/?a"}, {URL: "https://api.example.com/#a"},
		{URL: "api.example.com"}, {URL: "https://u@api.example.com"}, {URL: "https://api.example.com/a/../b"}, {URL: "https://api.example.com/a%2Fb"},
		{URL: resourceURL, Scopes: []string{"a b"}},
	} {
		if _, err := resource.NewMiddleware(v, o); err == nil {
			t.Errorf("accepts %+v", o)
		}
	}
	for name, demand := range map[string]func(){
		"a scope with a quote": func() { resource.RequireScope(`a"`) },
		"two scopes in one":    func() { resource.RequireScope("a b") },
		"no class":             func() { resource.RequireACR() },
		"an empty class":       func() { resource.RequireACR("") },
		"an age below 0":       func() { resource.MaxAge(-time.Second) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("accepts %s", name)
				}
			}()
			demand()
		}()
	}
}
