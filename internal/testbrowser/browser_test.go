//go:build browser

// Package testbrowser tests the server with a real browser: Debian's Chromium,
// driven by scripts in this folder through playwright-core. Run it with
// `make test-browser`, which installs both.
package testbrowser

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// servers are the test server and the web server of the page.
type servers struct {
	Issuer   string `json:"issuer"`
	ClientID string `json:"client_id"`
	Control  string `json:"control"`
	page     string
}

// serve starts both. The client lists the page's origin if listed is true.
func serve(t *testing.T, listed bool) *servers {
	t.Helper()
	page := httptest.NewServer(http.FileServer(http.Dir(".")))
	t.Cleanup(page.Close)
	origin := "https://elsewhere.example.com"
	if listed {
		origin = page.URL
	}
	program := filepath.Join(t.TempDir(), "testserver")
	if out, err := exec.Command("go", "build", "-o", program, "../testserver/cmd").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program, "-origin", origin)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // this ends it
		if err := cmd.Wait(); err != nil {
			t.Errorf("the test server: %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	s := &servers{page: page.URL + "/page.html"}
	if err := json.Unmarshal(line, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// script runs a script of this folder, which fails by its exit code.
func (s *servers) script(t *testing.T, args ...string) {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("there is no chromium: run `.ci/setup browser`, as root")
	}
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Env = append(os.Environ(), "ISSUER="+s.Issuer, "CLIENT_ID="+s.ClientID, "CONTROL="+s.Control, "PAGE="+s.page, "CHROMIUM="+chromium)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %v\n%s", args, err, out)
	}
}

// Three sessions lose one response each, and one loses three, with nine refreshes
// between them.
func TestAPageClosedDuringARefreshIsStillSignedIn(t *testing.T) {
	s := serve(t, true)
	for _, c := range []struct{ store, interruption, waits string }{
		{"localStorage", "lost", "30s"},
		{"indexedDB", "closed", "10m"},
		{"localStorage", "closed", "48h"},
		{"indexedDB", "lost", "30s,10m,48h"},
	} {
		t.Run(c.store+" "+c.interruption+" "+c.waits, func(t *testing.T) {
			s.script(t, "closed_page.mjs", c.store, c.interruption, c.waits)
		})
	}
}

func TestAPageOfAnotherOriginGetsNoAccess(t *testing.T) {
	serve(t, false).script(t, "cross_origin.mjs")
}
