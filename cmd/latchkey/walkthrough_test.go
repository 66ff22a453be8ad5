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

// lie is an answer that the walk-through gets instead of the true one.
type lie struct {
	path   string
	nth    int // request of the path; 0: every one
	status int
	body   string
}

// The walk-through is what a newcomer believes: it says nothing that it has
// not seen.
func TestWalkThroughFailsIfTheServer(t *testing.T) {
	for name, c := range map[string]struct {
		lie  lie
		want string // empty: none
	}{
		"does as it should, no more":                  {lie{}, ""},
		"mints no client tokens":                      {lie{"/dev/client-token", 0, 404, `{"error":"not_found"}`}, "/dev/client-token: unexpected response: 404"},
		"answers an exchange without a refresh token": {lie{"/token", 1, 200, `{"access_token":"a.b.c"}`}, "/token: unexpected response: 200 without refresh_token"},
		"gives an access token that is no JWT":        {lie{"/token", 1, 200, `{"access_token":"opaque","refresh_token":"lk_rt_"}`}, "the access token is not a JWT"},
		"publishes no key":                            {lie{"/.well-known/jwks.json", 0, 200, `{"keys":[]}`}, "offline verification"},
		"gives a retry another refresh token":         {lie{"/token", 3, 200, `{"refresh_token":"lk_rt_another"}`}, "the retried refresh returned a different refresh token"},
		"takes a replay":                              {lie{"/token", 7, 200, `{"refresh_token":"lk_rt_another"}`}, "/token: unexpected response: 200"},
		"takes a late copy for a replay":              {lie{"/token", 5, 400, `{"error":"invalid_grant","latchkey_reason":"refresh_reused"}`}, "/token: unexpected response: 400"},
		"takes a replay for a late copy":              {lie{"/token", 7, 400, `{"error":"invalid_grant","latchkey_reason":"refresh_superseded"}`}, "/token: unexpected response: 400"},
		"calls an ended session active":               {lie{"/introspect", 1, 200, `{"active":true}`}, "/introspect: unexpected response: 200"},
		"calls a live session inactive":               {lie{"/introspect", 2, 200, `{"active":false}`}, "/introspect: unexpected response: 200"},
		"revokes nothing":                             {lie{"/revoke", 0, 503, `{"error":"temporarily_unavailable"}`}, "/revoke: unexpected response: 503"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, verbose := range []bool{false, true} {
				var printed strings.Builder
				err := walkThrough(t.Context(), newPrinter(&printed, verbose, false), lyingServer(t, c.lie))
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("verbose %t: it says %v after\n%s", verbose, err, tail(printed.String()))
				}
			}
		})
	}
}

var (
	someToken = regexp.MustCompile(`(eyJ|lk_rt_)…[\w-]{4}`)
	somePort  = regexp.MustCompile(`localhost:\d+`)
)

// The file is what the reader sees, but for tokens and the port.
func TestWalkThroughFitsAScreenAndAHalf(t *testing.T) {
	var printed strings.Builder
	must(t, walkThrough(t.Context(), newPrinter(&printed, false, false), lyingServer(t, lie{})))
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
	issuer := lyingServer(t, lie{})
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
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal is
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

// lyingServer is a server of dev mode, but for one lie. It returns its issuer.
func lyingServer(t *testing.T, about lie) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c, err := devConfig(t.TempDir(), listener.Addr().String())
	must(t, err)
	issuer, err := demoIssuer(t.TempDir(), c.Issuer)
	must(t, err)
	c.Tenants, err = demoTenants(issuer)
	must(t, err)
	c.Tenants[0].SigningAlgorithm = "ES256" // RSA keys take their time
	n, err := newNode(t.Context(), c, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { n.store.Close() })
	truth, err := handlers.New(handlers.Config{Issuer: c.Issuer, OAuth: n.oauth, Ready: n.ready, Log: n.log, DevIssuer: issuer})
	must(t, err)
	seen := 0
	liar := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == about.path {
			if seen++; about.nth == 0 || about.nth == seen {
				w.WriteHeader(about.status)
				_, _ = w.Write([]byte(about.body)) // a client that is gone says so itself
				return
			}
		}
		truth.ServeHTTP(w, r)
	}))
	liar.Listener.Close()
	liar.Listener = listener
	liar.Start()
	t.Cleanup(liar.Close)
	return c.Issuer
}
