package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// port returns an unused port.
func port(t *testing.T) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// startApp runs the app, which starts Latchkey, and returns its address.
func startApp(t *testing.T) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	listen, latchkey := "localhost:"+strconv.Itoa(port(t)), strconv.Itoa(port(t))
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-listen", listen, "-latchkey-port", latchkey}, io.Discard) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the program ended with %v", err)
		}
		if c, err := net.Dial("tcp", "127.0.0.1:"+latchkey); err == nil {
			c.Close()
			t.Error("Latchkey still runs")
		}
	})
	within(t, 5*time.Minute, "the app serves", func() bool { // its server is built first
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the program ended with %v", err)
		default:
		}
		answer, err := http.Get("http://" + listen)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == 200
	})
	return "http://" + listen
}

// eventually waits for less than the lifetime of an access token.
func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	within(t, time.Minute, what, true)
}

func within(t *testing.T, timeout time.Duration, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if true() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// browser stores cookies, and submits the forms of the page.
type browser struct {
	*testing.T
	app  string
	http *http.Client
}

func newBrowser(t *testing.T, app string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, app, &http.Client{Jar: jar}}
}

func (b *browser) do(method, path string, form url.Values, header http.Header) (*http.Response, string) {
	b.Helper()
	r, err := http.NewRequest(method, b.app+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.app)
	}
	answer, err := b.http.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.Fatal(err)
	}
	if strings.Contains(string(text), "eyJ") || strings.Contains(string(text), "lk_") {
		b.Errorf("%s %s shows a token", method, path)
	}
	return answer, string(text)
}

// page returns the page that the user sees.
func (b *browser) page() string {
	b.Helper()
	answer, text := b.do("GET", "/", nil, nil)
	if answer.StatusCode != 200 {
		b.Fatalf("the page: %d %s", answer.StatusCode, text)
	}
	return text
}

// press submits the form of an action.
func (b *browser) press(action string, fields url.Values) {
	b.Helper()
	text := b.page()
	if fields == nil {
		fields = url.Values{}
	}
	if !strings.Contains(text, `action="`+action+`"`) {
		b.Fatalf("the page has no %s", action)
	}
	if token := regexp.MustCompile(`name="latchkey_csrf" value="([^"]+)"`).FindStringSubmatch(text); token != nil {
		fields.Set("latchkey_csrf", token[1])
	}
	if answer, text := b.do("POST", action, fields, http.Header{}); answer.StatusCode != 200 {
		b.Fatalf("%s: %d %s", action, answer.StatusCode, text)
	}
}

func (b *browser) signIn(user, method, device string) {
	b.Helper()
	b.press("/sign-in", url.Values{"user": {user}, "method": {method}, "device": {device}})
	if !strings.Contains(b.page(), "Signed in as <strong>"+user) {
		b.Fatal("nobody is signed in")
	}
}

// ask sends a request like the page's script.
func (b *browser) ask(method, path string) (status int, text, challenge string) {
	b.Helper()
	answer, text := b.do(method, path, nil, http.Header{"Latchkey-Csrf": {"1"}, "Sec-Fetch-Site": {"same-origin"}})
	return answer.StatusCode, text, answer.Header.Get("WWW-Authenticate")
}

func (b *browser) cookie() string {
	b.Helper()
	at, err := url.Parse(b.app)
	if err != nil {
		b.Fatal(err)
	}
	cookies := b.http.Jar.Cookies(at)
	if len(cookies) != 1 {
		b.Fatalf("%d cookies", len(cookies))
	}
	return cookies[0].Value
}

func TestTheAppFromSignInToSignOut(t *testing.T) {
	app := startApp(t)
	phone, laptop, stranger := newBrowser(t, app), newBrowser(t, app), newBrowser(t, app)
	phone.signIn("alice", "password", "Alice's phone")
	laptop.signIn("alice", "passkey", "<b>laptop</b>")
	stranger.signIn("mallory", "password", "Mallory's")

	devices := phone.page()
	for _, want := range []string{"Alice&#39;s phone</strong> (this one)", "&lt;b&gt;laptop&lt;/b&gt;", "Go-http-client"} {
		if !strings.Contains(devices, want) {
			t.Errorf("the list of devices has no %q", want)
		}
	}
	if strings.Contains(devices, "Mallory") {
		t.Error("the list of devices shows another user's")
	}

	for _, b := range []*browser{phone, laptop} {
		if status, text, _ := b.ask("GET", "/api/orders"); status != 200 || !strings.Contains(text, `"user":"alice"`) || !strings.Contains(text, `"audience":["demo-api"]`) {
			t.Fatalf("orders: %d %s", status, text)
		}
	}

	status, _, challenge := phone.ask("POST", "/api/transfers")
	if status != 401 || !strings.Contains(challenge, `error="insufficient_user_authentication"`) || !strings.Contains(challenge, `acr_values="phr phrh"`) {
		t.Fatalf("a transfer after a password: %d %s", status, challenge)
	}
	before := phone.cookie()
	if status, text, _ := phone.ask("POST", "/step-up"); status != 204 {
		t.Fatalf("step-up: %d %s", status, text)
	}
	if phone.cookie() == before {
		t.Error("the cookie is the same after the step-up")
	}
	for _, b := range []*browser{phone, laptop} {
		if status, text, _ := b.ask("POST", "/api/transfers"); status != 200 || !strings.Contains(text, `"acr":"phr`) {
			t.Errorf("a transfer after a passkey: %d %s", status, text)
		}
	}

	phone.press(regexp.MustCompile(`/devices/[^/]+/sign-out`).FindString(phone.page()), nil)
	eventually(t, "the API refuses the device that was signed out", func() bool {
		status, text, _ := laptop.ask("GET", "/api/orders")
		return status == 401 && strings.Contains(text, "login_required")
	})
	if text := laptop.page(); !strings.Contains(text, "Sign in with a passkey") {
		t.Errorf("the laptop shows %s", text)
	}
	for name, b := range map[string]*browser{"phone": phone, "stranger": stranger} {
		if status, text, _ := b.ask("GET", "/api/orders"); status != 200 {
			t.Errorf("the %s: %d %s", name, status, text)
		}
	}

	laptop.signIn("alice", "password", "The laptop again")
	phone.press("/devices/sign-out-others", nil)
	eventually(t, "only the phone is left", func() bool {
		status, _, _ := laptop.ask("GET", "/api/orders")
		return status == 401
	})
	if strings.Contains(phone.page(), "The laptop again") {
		t.Error("the laptop is still in the list")
	}

	phone.press("/sign-out", nil)
	if !strings.Contains(phone.page(), "Sign in with a passkey") {
		t.Error("still signed in")
	}
	if status, text, _ := phone.ask("GET", "/api/orders"); status != 401 || !strings.Contains(text, "login_required") {
		t.Errorf("orders after signing out: %d %s", status, text)
	}
}

func TestTheAppRejectsCrossSiteRequests(t *testing.T) {
	app := startApp(t)
	b := newBrowser(t, app)
	b.signIn("alice", "password", "")
	for name, c := range map[string]struct {
		path   string
		form   url.Values
		header http.Header
	}{
		"a form without its token":   {"/sign-out", url.Values{"a": {"b"}}, http.Header{}},
		"a form of another site":     {"/sign-in", nil, http.Header{"Sec-Fetch-Site": {"cross-site"}}},
		"a script of another origin": {"/step-up", nil, http.Header{"Origin": {"https://evil.example.com"}, "Latchkey-Csrf": {"1"}}},
		"a link to the API":          {"/api/transfers", nil, http.Header{}},
	} {
		if answer, text := b.do("POST", c.path, c.form, c.header); answer.StatusCode != 403 {
			t.Errorf("%s: %d %s", name, answer.StatusCode, text)
		}
	}
	if !strings.Contains(b.page(), "Signed in as <strong>alice") {
		t.Error("alice is no longer signed in")
	}
}

// The program on the port is not a Latchkey.
func TestTheAppStartsNoLatchkeyOnAUsedPort(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	err := run(t.Context(), []string{"-listen", "localhost:0", "-latchkey-port", other.URL[len("http://127.0.0.1:"):]}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "-latchkey-port") {
		t.Errorf("ended with %v", err)
	}
}

func TestTheAppUsesARunningLatchkey(t *testing.T) {
	latchkey := port(t)
	first, err := findLatchkey(t.Context(), latchkey, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := first.stop(); err != nil {
			t.Error(err)
		}
	})
	var printed strings.Builder
	second, err := findLatchkey(t.Context(), latchkey, &printed)
	if err != nil || second.issuer != first.issuer || !strings.Contains(printed.String(), "Using the running Latchkey at "+first.issuer) {
		t.Fatalf("%v, printed %s", err, printed.String())
	}
	if err := second.stop(); err != nil {
		t.Error(err)
	}
	if _, err := clientToken(t.Context(), first.issuer, "alice", "password"); err != nil {
		t.Errorf("the app ended a Latchkey that it had not started: %v", err)
	}
}
