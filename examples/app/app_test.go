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
	app   string
	agent string // the User-Agent header; empty: that of Go
	http  *http.Client
}

func newBrowser(t *testing.T, app string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{T: t, app: app, http: &http.Client{Jar: jar}}
}

func (b *browser) do(method, path string, form url.Values, header http.Header) (*http.Response, string) {
	b.Helper()
	if header == nil {
		header = http.Header{}
	}
	if form != nil {
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		header.Set("Origin", b.app)
	}
	return b.request(method, path, form.Encode(), header)
}

func (b *browser) request(method, path, body string, header http.Header) (*http.Response, string) {
	b.Helper()
	r, err := http.NewRequest(method, b.app+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Header = header
	if b.agent != "" {
		r.Header.Set("User-Agent", b.agent)
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
	if path != "/client-token" && strings.Contains(string(text), "eyJ") || strings.Contains(string(text), "lk_") {
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

// press submits the form of an action, and returns the page after it.
func (b *browser) press(action string, fields url.Values) string {
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
	answer, text := b.do("POST", action, fields, http.Header{})
	if answer.StatusCode != 200 {
		b.Fatalf("%s: %d %s", action, answer.StatusCode, text)
	}
	return text
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
	return b.send(method, path, "")
}

// send does the same with a body.
func (b *browser) send(method, path, body string) (status int, text, challenge string) {
	b.Helper()
	answer, text := b.request(method, path, body, http.Header{"Latchkey-Csrf": {"1"}, "Sec-Fetch-Site": {"same-origin"}, "Content-Type": {"application/json"}})
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

const (
	firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
	iPhone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
	gift    = `{"to": "Bob", "cents": 500}`
)

// The user is not alice, whom dev mode itself signs in.
func TestTheAppFromSignInToSignOut(t *testing.T) {
	app := startApp(t)
	phone, laptop, stranger := newBrowser(t, app), newBrowser(t, app), newBrowser(t, app)
	phone.agent, laptop.agent = iPhone, firefox
	phone.signIn("carol", "password", "Carol's phone")
	laptop.signIn("carol", "passkey", "<b>laptop</b>")
	stranger.signIn("mallory", "password", "Mallory's")

	devices := phone.page()
	for _, want := range []string{"Carol&#39;s phone</strong> <span class=\"badge\">This device", "Safari on iPhone", "&lt;b&gt;laptop&lt;/b&gt;", "Firefox on Windows", "with a passkey"} {
		if !strings.Contains(devices, want) {
			t.Errorf("the list of devices has no %q", want)
		}
	}
	for _, never := range []string{"Mallory", "Mozilla", "127.0.0.1", "urn:", "phr", ">hwk"} {
		if strings.Contains(devices, never) {
			t.Errorf("the page shows %q", never)
		}
	}

	for _, b := range []*browser{phone, laptop} {
		if status, text, _ := b.ask("GET", "/api/orders"); status != 200 || !strings.Contains(text, `"user":"carol"`) || !strings.Contains(text, `"credit":4000`) {
			t.Fatalf("orders: %d %s", status, text)
		}
	}

	status, _, challenge := phone.send("POST", "/api/transfers", gift)
	if status != 401 || !strings.Contains(challenge, `error="insufficient_user_authentication"`) || !strings.Contains(challenge, `acr_values="phr phrh"`) {
		t.Fatalf("a transfer after a password: %d %s", status, challenge)
	}
	before := phone.cookie()
	_, proof := phone.do("POST", "/client-token", url.Values{"user": {"carol"}, "method": {"passkey"}}, http.Header{"Latchkey-Csrf": {"1"}})
	if status, text, _ := phone.send("POST", "/auth/step-up", `{"client_token": "`+proof+`"}`); status != 200 {
		t.Fatalf("step-up: %d %s", status, text)
	}
	if phone.cookie() == before {
		t.Error("the cookie is the same after the step-up")
	}
	if status, text, _ := phone.send("POST", "/api/transfers", gift); status != 200 || !strings.Contains(text, `"credit":3500`) {
		t.Errorf("a transfer after the step-up: %d %s", status, text)
	}
	if status, text, _ := laptop.send("POST", "/api/transfers", gift); status != 200 || !strings.Contains(text, `"credit":3000`) {
		t.Errorf("a transfer after signing in with a passkey: %d %s", status, text)
	}
	for body, want := range map[string]int{`{"to": "Bob", "cents": 3001}`: 409, `{"to": "Bob", "cents": -1}`: 400, `{"cents": 1}`: 400, `no`: 400} {
		if status, text, _ := laptop.send("POST", "/api/transfers", body); status != want {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}

	if text := phone.press(regexp.MustCompile(`/devices/[^/]+/sign-out`).FindString(phone.page()), nil); !strings.Contains(text, "That device is signed out.") {
		t.Errorf("after signing out the laptop, the page is %s", text)
	}
	if status, text, _ := laptop.ask("GET", "/auth/sessions"); status != 401 || !strings.Contains(text, `"latchkey_end_reason":"revoked_by_user"`) {
		t.Errorf("the sessions of the laptop: %d %s", status, text)
	}
	if _, text := laptop.do("GET", "/?ended=revoked_by_user", nil, nil); !strings.Contains(text, "Sign in with a passkey") || !strings.Contains(text, "You were signed out on another device.") {
		t.Errorf("the laptop shows %s", text)
	}
	if status, text, _ := laptop.ask("GET", "/api/orders"); status != 401 || !strings.Contains(text, "login_required") {
		t.Errorf("orders on the laptop: %d %s", status, text)
	}
	for name, b := range map[string]*browser{"phone": phone, "stranger": stranger} {
		if status, text, _ := b.ask("GET", "/api/orders"); status != 200 {
			t.Errorf("the %s: %d %s", name, status, text)
		}
	}

	laptop.signIn("carol", "password", "The laptop again")
	if text := phone.press("/devices/sign-out-others", nil); !strings.Contains(text, "You are signed out on 1 other device.") || strings.Contains(text, "The laptop again") {
		t.Errorf("after signing out the others, the page is %s", text)
	}
	eventually(t, "the API refuses the device that was signed out", func() bool {
		status, text, _ := laptop.ask("GET", "/api/orders")
		return status == 401 && strings.Contains(text, "login_required")
	})
	if text := phone.press("/devices/sign-out-others", nil); !strings.Contains(text, "You are not signed in on any other device.") {
		t.Errorf("without other devices, the page is %s", text)
	}

	if text := phone.press("/sign-out", nil); !strings.Contains(text, "You are signed out.") || !strings.Contains(text, "Sign in with a passkey") {
		t.Errorf("after signing out, the page is %s", text)
	}
	if status, text, _ := phone.ask("GET", "/api/orders"); status != 401 || !strings.Contains(text, "login_required") {
		t.Errorf("orders after signing out: %d %s", status, text)
	}
	if _, text, _ := stranger.ask("GET", "/auth/session"); !strings.Contains(text, `"sub":"mallory"`) {
		t.Errorf("another user is signed out: %s", text)
	}
}

func TestTheAppSignsOutEverywhere(t *testing.T) {
	app := startApp(t)
	phone, laptop := newBrowser(t, app), newBrowser(t, app)
	phone.signIn("carol", "passkey", "")
	laptop.signIn("carol", "passkey", "")
	if text := phone.press("/devices/sign-out-everywhere", nil); !strings.Contains(text, "You are signed out everywhere: on 2 devices.") || !strings.Contains(text, "Sign in with a passkey") {
		t.Errorf("after signing out everywhere, the page is %s", text)
	}
	if text := laptop.page(); !strings.Contains(text, "Sign in with a passkey") || !strings.Contains(text, "You were signed out on another device.") {
		t.Errorf("the laptop shows %s", text)
	}
	for name, b := range map[string]*browser{"phone": phone, "laptop": laptop} {
		if status, text, _ := b.ask("GET", "/auth/session"); status != 200 || !strings.Contains(text, `"session":null`) {
			t.Errorf("the state of the %s: %d %s", name, status, text)
		}
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
		"a script of another origin": {"/auth/step-up", nil, http.Header{"Origin": {"https://evil.example.com"}, "Latchkey-Csrf": {"1"}}},
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
