package bff_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// attributes are the attributes of a cookie header, without its value and age.
func attributes(a answer) string {
	var kept []string
	for i, part := range strings.Split(a.Header.Get("Set-Cookie"), "; ") {
		if name, _, _ := strings.Cut(part, "="); i == 0 {
			kept = append(kept, name)
		} else if name != "Max-Age" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "; ")
}

const attributesWanted = "__Host-session; Path=/; HttpOnly; Secure; SameSite=Strict"

func TestTheCookieIsAnOpaqueHandle(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	a := w.send(http.MethodPost, "/sign-in", url.Values{"client_token": {w.issuer.ClientToken("alice")}})
	c := w.cookie(a)
	if got := attributes(a); got != attributesWanted {
		t.Errorf("set %q", got)
	}
	if b, err := base64.RawURLEncoding.DecodeString(c.Value); err != nil || len(b) != 32 || len(c.Name)+len(c.Value) > 4096 {
		t.Errorf("holds %q", c.Value)
	}
	if left := time.Duration(c.MaxAge) * time.Second; left > latchkeytest.SessionLifetime || left < latchkeytest.SessionLifetime-time.Minute {
		t.Errorf("lives for %s", left)
	}
	if a.Header.Get("Cache-Control") != "no-store" {
		t.Error("the answer may be kept")
	}
	if w.session() == "" || strings.Contains(c.Value, w.session()) {
		t.Error("it holds the session")
	}
}

func TestTheCookieDoesNotOutliveItsSession(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	c := w.signIn()
	w.issuer.Advance(latchkeytest.SessionLifetime)
	w.useCookie(&http.Cookie{Name: c.Name, Value: c.Value, Path: "/", Secure: true})
	if w.session() != "" {
		t.Error("the store does not decide")
	}
}

func TestASignInReplacesTheCookie(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	first := w.signIn()
	before := w.session()
	if second := w.signIn(); second.Value == first.Value || w.session() == before {
		t.Fatal("the cookie stays")
	}
	if w.issuer.SessionActive(before) {
		t.Error("the session before is still alive")
	}
	w.useCookie(first)
	if w.session() != "" {
		t.Error("the old cookie is still good")
	}
}

func TestAStepUpReplacesTheCookie(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	first := w.signIn()
	before := w.session()
	otp := w.issuer.ClientToken("alice", latchkeytest.Claims{"amr": []string{"otp"}})
	a := w.send(http.MethodPost, "/step-up", url.Values{"client_token": {otp}})
	second := w.cookie(a)
	if attributes(a) != attributesWanted || second.Value == first.Value || w.session() != before {
		t.Fatalf("the cookie stays, or is another session's: %s", attributes(a))
	}
	w.useCookie(first)
	if w.session() != "" {
		t.Error("the old cookie is still good")
	}
	w.useCookie(second)
	w.issuer.Advance(time.Hour)
	if a := w.get("/api/orders"); a.StatusCode != http.StatusOK {
		t.Errorf("the session cannot be refreshed any more: %d %s", a.StatusCode, a.text)
	}
}

func TestAStepUpThatIsRefusedKeepsTheCookie(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.signIn()
	before := w.session()
	if a := w.send(http.MethodPost, "/step-up", url.Values{"client_token": {w.issuer.ClientToken("bob")}}); a.StatusCode != http.StatusTeapot || len(a.Cookies()) != 0 {
		t.Errorf("answered %d %v", a.StatusCode, a.Cookies())
	}
	if w.session() != before {
		t.Error("the session is lost")
	}
}

func TestSignOutDeletesTheCookieAndEndsTheSession(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	c := w.signIn()
	sid := w.session()
	a := w.send(http.MethodPost, "/sign-out", nil)
	if got := w.cookie(a); attributes(a) != attributesWanted || got.MaxAge >= 0 || got.Value != "" {
		t.Errorf("set %q", a.Header.Get("Set-Cookie"))
	}
	if w.issuer.SessionActive(sid) {
		t.Error("the session is still alive at the server")
	}
	w.useCookie(c)
	if w.session() != "" {
		t.Error("the cookie is still good")
	}
	if a := w.send(http.MethodPost, "/sign-out", nil); a.StatusCode != http.StatusOK {
		t.Errorf("again: %d %s", a.StatusCode, a.text)
	}
}

func TestSignOutWhileTheServerIsDown(t *testing.T) {
	t.Parallel()
	w := newTestAppWithRetryWindow(t, 300*time.Millisecond)
	c := w.signIn()
	sid := w.session()
	w.issuer.SetDown(true)
	if a := w.send(http.MethodPost, "/sign-out", nil); a.StatusCode != http.StatusOK || w.cookie(a).MaxAge >= 0 {
		t.Errorf("answered %d %s", a.StatusCode, a.text)
	}
	w.useCookie(c)
	if w.session() != "" {
		t.Error("the user is still signed in")
	}
	for w.issuer.RequestCount("/revoke") < 10 { // more than the client's own retries
		time.Sleep(time.Millisecond)
	}
	w.issuer.SetDown(false)
	for w.issuer.SessionActive(sid) { // until it is revoked, or the test runs out of time
		time.Sleep(time.Millisecond)
	}
}

func TestForeignCookiesAreIgnored(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	c := w.signIn()
	for name, header := range map[string]string{
		"none":             "",
		"another name":     "session=" + c.Value,
		"an unknown value": c.Name + "=" + strings.Repeat("A", 43),
		"a short value":    c.Name + "=A",
		"two of the name":  c.Name + "=" + c.Value + "; " + c.Name + "=" + c.Value,
	} {
		w.browser.Jar = nil
		if a := w.get("/me", "Cookie", header); a.StatusCode != http.StatusTeapot || !strings.Contains(a.text, bff.ErrNoSession.Error()) {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.text)
		}
	}
	if a := w.get("/me", "Cookie", c.Name+"="+c.Value); a.StatusCode != http.StatusOK {
		t.Errorf("the right one: %d %s", a.StatusCode, a.text)
	}
}

func TestDevelopmentOnLoopback(t *testing.T) {
	t.Parallel()
	w := newTestApp(t, func(o *bff.Options) { o.Loopback = true })
	a := w.send(http.MethodPost, "/sign-in", url.Values{"client_token": {w.issuer.ClientToken("alice")}})
	if got := attributes(a); got != "session; Path=/; HttpOnly; SameSite=Strict" {
		t.Errorf("set %q", got)
	}
	if w.session() == "" {
		t.Error("the browser is not signed in")
	}
	c := w.cookie(a)
	if a := w.get("/me", "Host", "app.example.com", "Cookie", c.Name+"="+c.Value); a.StatusCode != http.StatusTeapot {
		t.Errorf("another host: %d", a.StatusCode)
	}
	if a := w.send(http.MethodPost, "/sign-in", url.Values{"client_token": {w.issuer.ClientToken("alice")}}, "Host", "app.example.com"); len(a.Cookies()) != 0 {
		t.Errorf("another host gets %v", a.Cookies())
	}
}

func TestNewRejects(t *testing.T) {
	t.Parallel()
	client, err := latchkey.NewClient("https://id.example.com", "web", latchkey.ClientOptions{})
	must(t, err)
	for name, o := range map[string]bff.Options{
		"no client":                    {},
		"a name without the prefix":    {Client: client, CookieName: "session"},
		"a name of the prefix alone":   {Client: client, CookieName: "__Host-"},
		"a name that is none":          {Client: client, CookieName: "__Host-a b"},
		"a name of a kilobyte":         {Client: client, CookieName: "__Host-" + strings.Repeat("a", 1024)},
		"an origin with a path":        {Client: client, TrustedOrigins: []string{"https://a.example.com/x"}},
		"a prefix without a slash":     {Client: client, Upstreams: map[string]bff.Upstream{"/api": {URL: "https://api.example.com/"}}},
		"a base without a slash":       {Client: client, Upstreams: map[string]bff.Upstream{"/api/": {URL: "https://api.example.com"}}},
		"a base over plain HTTP":       {Client: client, Upstreams: map[string]bff.Upstream{"/api/": {URL: "http://api.example.com/"}}},
		"a base with a query":          {Client: client, Upstreams: map[string]bff.Upstream{"/api/": {URL: "https://api.example.com/?a=b"}}},
		"a base with credentials":      {Client: client, Upstreams: map[string]bff.Upstream{"/api/": {URL: "https://a:b@api.example.com/"}}},
		"a base of another protocol":   {Client: client, Upstreams: map[string]bff.Upstream{"/api/": {URL: "file:///etc/"}}},
		"a protocol that is neither":   {Client: client, Upstreams: map[string]bff.Upstream{"/api/": {URL: "ftp://orders/", PlainHTTP: true}}},
		"one good upstream, one wrong": {Client: client, Upstreams: map[string]bff.Upstream{"/api/": {URL: "https://api.example.com/"}, "/b/": {URL: "api"}}},
	} {
		if _, err := bff.New(o); err == nil {
			t.Errorf("takes %s", name)
		}
	}
}
