//go:build browser

package main

import (
	"os"
	"os/exec"
	"testing"
)

// Chromium, with its virtual authenticator. `make test-browser` installs what is missing.
func TestSignInByLinkAndPasskeyInABrowser(t *testing.T) {
	e := start(t)
	link := e.link()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("there is no chromium: run `.ci/setup browser`, as root")
	}
	cmd := exec.CommandContext(t.Context(), "node", "sign_in.mjs")
	cmd.Env = append(os.Environ(), "PAGE="+e.url, "LINK="+link, "CHROMIUM="+chromium)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
