package main

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/latchkey/latchkey/handlers"
)

// fakeResponse replaces a response to the walk-through.
type fakeResponse struct {
	path   string
	nth    int // number of the request to the path; 0: every request
	status int
	body   string
}

// Newcomers believe the walk-through, so it must not claim anything that it has not
// checked.
func TestWalkThroughFailsIfTheServer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fake fakeResponse
		want string // empty: none
	}{
		"works":                   {fakeResponse{}, ""},
		"issues no client tokens": {fakeResponse{"/dev/client-token", 0, 404, `{"error":"not_found"}`}, "/dev/client-token: unexpected response: 404"},
		"returns no refresh token from an exchange": {fakeResponse{"/token", 1, 200, `{"access_token":"a.b.c"}`}, "/token: unexpected response: 200 without refresh_token"},
		"returns an access token that is not a JWT": {fakeResponse{"/token", 1, 200, `{"access_token":"opaque","refresh_token":"lk_rt_"}`}, "the access token is not a JWT"},
		"publishes no keys":                         {fakeResponse{"/.well-known/jwks.json", 0, 200, `{"keys":[]}`}, "offline verification"},
		"returns another refresh token for a retry": {fakeResponse{"/token", 3, 200, `{"refresh_token":"lk_rt_another"}`}, "the retried refresh returned a different refresh token"},
		"accepts a replay":                          {fakeResponse{"/token", 7, 200, `{"refresh_token":"lk_rt_another"}`}, "/token: unexpected response: 200"},
		"treats a late copy as a replay":            {fakeResponse{"/token", 5, 400, `{"error":"invalid_grant","latchkey_reason":"refresh_reused"}`}, "/token: unexpected response: 400"},
		"treats a replay as a late copy":            {fakeResponse{"/token", 7, 400, `{"error":"invalid_grant","latchkey_reason":"refresh_superseded"}`}, "/token: unexpected response: 400"},
		"reports an ended session as active":        {fakeResponse{"/introspect", 1, 200, `{"active":true}`}, "/introspect: unexpected response: 200"},
		"reports a live session as inactive":        {fakeResponse{"/introspect", 2, 200, `{"active":false}`}, "/introspect: unexpected response: 200"},
		"revokes nothing":                           {fakeResponse{"/revoke", 0, 503, `{"error":"temporarily_unavailable"}`}, "/revoke: unexpected response: 503"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, verbose := range []bool{false, true} {
				var printed strings.Builder
				err := walkThrough(t.Context(), newPrinter(&printed, verbose, false), faultyServer(t, c.fake))
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("verbose %t: it returns %v after\n%s", verbose, err, tail(printed.String()))
				}
			}
		})
	}
}

var (
	someToken = regexp.MustCompile(`(eyJ|lk_rt_)…[\w-]{4}`)
	somePort  = regexp.MustCompile(`localhost:\d+`)
)

// The file is the printed text, except for tokens and the port.
func TestWalkThroughFitsAScreenAndAHalf(t *testing.T) {
	t.Parallel()
	var printed strings.Builder
	must(t, walkThrough(t.Context(), newPrinter(&printed, false, false), faultyServer(t, fakeResponse{})))
	got := somePort.ReplaceAllString(someToken.ReplaceAllString(printed.String(), "$1…"), "localhost:PORT")
	want, err := os.ReadFile("testdata/walkthrough.txt")
	must(t, err)
	if got != string(want) {
		t.Errorf("it prints\n%s", got)
	}
	lines := strings.Split(printed.String(), "\n")
	for _, line := range lines {
		if width := utf8.RuneCountInString(line); width > 120 {
			t.Errorf("a line of %d characters: %s", width, line)
		}
	}
	if len(lines) > 66 {
		t.Errorf("%d lines", len(lines))
	}
}

func TestColorsMarkHarmlessAndStolenTokens(t *testing.T) {
	var plain, colored strings.Builder
	issuer := faultyServer(t, fakeResponse{})
	must(t, walkThrough(t.Context(), newPrinter(&plain, false, false), issuer))
	must(t, walkThrough(t.Context(), newPrinter(&colored, false, true), issuer))
	if strings.Contains(plain.String(), "\x1b") {
		t.Error("without colors there are escape sequences")
	}
	for _, want := range []string{"\x1b[32m: harmless\x1b[0m", "\x1b[33m: rejected, but harmless\x1b[0m", "\x1b[31m: theft\x1b[0m", "\x1b[31mrefresh_reused\x1b[0m"} {
		if !strings.Contains(colored.String(), want) {
			t.Errorf("no %q", want)
		}
	}
}

func TestColorsAreOnlyForTerminals(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, like a terminal
	must(t, err)
	defer device.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	must(t, err)
	defer file.Close()
	if !colored(device) || colored(file) || colored(new(strings.Builder)) {
		t.Errorf("terminal %t, file %t, buffer %t", colored(device), colored(file), colored(new(strings.Builder)))
	}
	t.Setenv("TERM", "dumb")
	if colored(device) {
		t.Error("a dumb terminal gets colors")
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	if colored(device) {
		t.Error("NO_COLOR has no effect")
	}
}

// faultyServer starts a server of dev mode with one fake response, and returns its issuer.
func faultyServer(t *testing.T, fake fakeResponse) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c, err := devConfig(t.TempDir(), listener.Addr().String())
	must(t, err)
	issuer, err := demoIssuer(t.TempDir(), c.Issuer)
	must(t, err)
	c.Tenants, err = demoTenants(issuer)
	must(t, err)
	c.Tenants[0].SigningAlgorithm = "ES256" // RSA keys are slow to generate
	n, err := newNode(t.Context(), c, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { n.store.Close() })
	real, err := handlers.New(handlers.Config{Issuer: c.Issuer, OAuth: n.oauth, Ready: n.ready, Log: n.log, DevIssuer: issuer})
	must(t, err)
	seen := 0
	faulty := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == fake.path {
			if seen++; fake.nth == 0 || fake.nth == seen {
				w.WriteHeader(fake.status)
				_, _ = w.Write([]byte(fake.body)) // a failure shows at the client
				return
			}
		}
		real.ServeHTTP(w, r)
	}))
	faulty.Listener.Close()
	faulty.Listener = listener
	faulty.Start()
	t.Cleanup(faulty.Close)
	return c.Issuer
}
