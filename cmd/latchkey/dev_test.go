package main

import (
	"bytes"
	"fmt"
	"html"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// startDev runs `latchkey dev` with a folder and a free port, and waits for the end of
// its walk-through.
func startDev(t *testing.T, folder string, flags ...string) *server {
	t.Helper()
	for range 5 {
		s := startDevAt(t, folder, freeAddress(t), flags...)
		if s.running() {
			return s
		}
		if !strings.Contains(s.err.String(), "address already in use") { // another process has taken the port
			t.Fatalf("dev ended: %s", s.err.String())
		}
	}
	t.Fatal("no port stays free")
	return nil
}

func startDevAt(t *testing.T, folder, address string, flags ...string) *server {
	t.Helper()
	s := &server{process: start(t, nil, append([]string{"dev", "--data", folder, "--listen", address}, flags...)...)}
	s.url = "http://" + strings.Replace(address, "127.0.0.1", "localhost", 1)
	eventually(t, "the walk-through", func() bool {
		return strings.Contains(s.out.String(), "sign in with the admin key in ") || !s.running()
	})
	return s
}

// freeAddress returns a loopback address on which no process listens at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close())
	return l.Addr().String()
}

// printed returns the printed shell commands, except the one that starts the example
// app, which has its own test.
func (s *server) printed() (lines []string) {
	for line := range strings.Lines(s.out.String()) {
		if command, ok := strings.CutPrefix(line, "  $ "); ok && !strings.HasPrefix(command, "go run ") {
			lines = append(lines, strings.TrimSuffix(command, "\n"))
		}
	}
	return lines
}

func TestDevPrintsCommandsThatWorkInAShell(t *testing.T) {
	t.Parallel()
	s := startDev(t, filepath.Join(t.TempDir(), "data"), "--verbose")
	for _, shell := range []string{"bash", "sh"} {
		t.Run(shell, func(t *testing.T) {
			got := runPrinted(t, shell, s.printed(), "REFRESH2", "REFRESH3", "REFRESH4", "CLIENT_TOKEN")
			want := []func(a *response) bool{
				func(a *response) bool { return strings.Contains(a.body, `"kid":"`+s.kids()[0]+`"`) },
				func(a *response) bool { return a.text("error") == "invalid_grant" }, // the duplicate
				func(a *response) bool { return a.text("error") == "invalid_grant" }, // the replay
				func(a *response) bool { return a.json["active"] == false },
				func(a *response) bool { return a.json["active"] == true && a.text("sub") == "alice" },
				func(a *response) bool { return a.body == "" }, // the revocation
				func(a *response) bool { return a.json["active"] == false },
				func(a *response) bool { return s.exchangeAt("demo-web", a.text("client_token")).status == 200 },
			}
			if len(got.answers) != len(want) {
				t.Fatalf("%d commands printed an answer, want %d", len(got.answers), len(want))
			}
			for i, a := range got.answers {
				if !want[i](a) {
					t.Errorf("%s\nreturned %s", got.commands[i], a.body)
				}
			}
			v := got.variables
			if v["REFRESH2"] == "" || v["REFRESH3"] != v["REFRESH2"] || v["REFRESH4"] == v["REFRESH2"] {
				t.Errorf("the retried refresh returned %s, the previous one %s, the next one %s", v["REFRESH3"], v["REFRESH2"], v["REFRESH4"])
			}
			if again := s.exchangeAt("demo-web", v["CLIENT_TOKEN"]); again.status != 400 {
				t.Errorf("a client token works twice: %d %s", again.status, again.body)
			}
		})
	}
}

func TestDevServesAStartPage(t *testing.T) {
	t.Parallel()
	s := startDev(t, filepath.Join(t.TempDir(), "data"))
	page := s.do(http.MethodGet, "/", "")
	if page.status != 200 || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") || page.header.Get("Content-Security-Policy") == "" {
		t.Errorf("%d %v %s", page.status, page.header, page.body)
	}
	for _, link := range regexp.MustCompile(`(?:href|src)="(/[^"]*)"`).FindAllStringSubmatch(page.body, -1) {
		if a := s.do(http.MethodGet, link[1], ""); a.status != 200 && (link[1] != "/console" || a.status != 303) {
			t.Errorf("%s: %d", link[1], a.status)
		}
	}
	if !strings.Contains(page.body, `href="/console"`) {
		t.Error("the page has no link to the console")
	}
	if a := s.do(http.MethodGet, "/dev/static/console.css", ""); !strings.HasPrefix(a.header.Get("Content-Type"), "text/css") {
		t.Errorf("the style sheet has the type %s", a.header.Get("Content-Type"))
	}
	for _, path := range []string{"/dev/static/", "/dev/static/..", "/dev/static/console.go"} {
		if a := s.do(http.MethodGet, path, ""); a.status != 404 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if got := runPrinted(t, "sh", s.printed()); len(got.answers) != 1 || s.exchangeAt("demo-web", got.answers[0].text("client_token")).status != 200 {
		t.Errorf("the commands at the end printed %+v", got)
	}
}

func TestTheStepsOnTheStartPageWork(t *testing.T) {
	t.Parallel()
	s := startDev(t, filepath.Join(t.TempDir(), "data"))
	script := "set -eu\n"
	for _, step := range regexp.MustCompile(`(?s)<pre[^>]*><code[^>]*>(.*?)</code>`).FindAllStringSubmatch(s.do(http.MethodGet, "/", "").body, -1) {
		script += html.UnescapeString(step[1]) + "\n"
	}
	cmd := exec.CommandContext(t.Context(), "sh")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	for _, want := range []string{`"access_token":"eyJ`, `"sub":"alice"`, `"plan":"pro"`, "the same refresh token", `"latchkey_reason":"session_ended"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the steps print no %s:\n%s", want, out)
		}
	}
}

func TestDevPrintsALinkThatSignsInToTheConsole(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	s := startDev(t, folder)
	found := regexp.MustCompile(`Console: (http://localhost:\d+)/console/sign-in#(lk_cl_\S+)`).FindStringSubmatch(s.out.String())
	if found == nil || found[1] != s.url {
		t.Fatalf("no link in %s", s.out.String())
	}
	page := s.do(http.MethodGet, "/console/sign-in", "")
	token := regexp.MustCompile(`name="form_token" value="([^"]+)"`).FindStringSubmatch(page.body)
	cookie, _, _ := strings.Cut(page.header.Get("Set-Cookie"), ";")
	r, err := http.NewRequest(http.MethodPost, s.url+"/console/sign-in", strings.NewReader(url.Values{"form_token": {token[1]}, "secret": {found[2]}, "confirmed": {"yes"}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {s.url}, "Cookie": {cookie}}
	signed, err := http.DefaultTransport.RoundTrip(r) // without following the redirect
	if err != nil {
		t.Fatal(err)
	}
	signed.Body.Close()
	if signed.StatusCode != 303 || signed.Header.Get("Location") != "/console" {
		t.Errorf("the link does not sign in: %d %v", signed.StatusCode, signed.Header)
	}
	if a := s.do(http.MethodGet, "/console/sign-in", "", header("Host", "rebound.example")); a.status != 403 {
		t.Errorf("a foreign host: %d", a.status)
	}
}

func TestDevReusesItsFolder(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	folder := filepath.Join(parent, "data")
	first := startDev(t, folder)
	kids := first.kids()
	bob := first.post("/dev/client-token", []string{"sub", "bob", "claims", `{"plan": "gold"}`})
	session := first.exchangeAt("demo-web", bob.text("client_token"))
	if session.status != 200 {
		t.Fatal("bob cannot sign in")
	}
	interrupt(t, first)
	left := listing(t, parent) + listing(t, first.cmd.Dir)
	key, err := os.ReadFile(filepath.Join(folder, "admin-key"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "drwx------ data\n-rw------- data/admin-key\n-rw------- data/demo-issuer.pem\n-rw------- data/latchkey.db\n-rw------- data/root-secret\n"; left != want {
		t.Errorf("it leaves\n%swant\n%s", left, want)
	}
	for name, again := range map[string]func(t *testing.T) *server{
		"at the same address": func(t *testing.T) *server { return startDevAt(t, folder, strings.TrimPrefix(first.url, "http://")) },
		"at another address":  func(t *testing.T) *server { return startDev(t, folder) },
	} {
		t.Run(name, func(t *testing.T) {
			second := again(t)
			if now, err := os.ReadFile(filepath.Join(folder, "admin-key")); err != nil || !bytes.Equal(now, key) {
				t.Errorf("a new start created another admin key: %v", err)
			}
			if got := second.kids(); len(kids) != 1 || !slices.Equal(got, kids) {
				t.Errorf("keys %v at first, %v after a new start", kids, got)
			}
			session = second.post("/token", []string{"grant_type", "refresh_token", "client_id", "demo-web", "refresh_token", session.text("refresh_token")})
			seen := second.post("/introspect", []string{"token", session.text("access_token")}, basic("demo-api", demoSecret))
			if !seen.is(true) || seen.text("plan") != "gold" {
				t.Errorf("bob is another user after a new start: %s %s", session.body, seen.body)
			}
			carol := second.post("/dev/client-token", []string{"sub", "carol"})
			if a := second.exchangeAt("demo-web", carol.text("client_token")); a.status != 200 {
				t.Errorf("carol cannot sign in: %s", a.body)
			}
			interrupt(t, second)
		})
	}
}

// interrupt ends a server as Ctrl-C does.
// Ctrl-C may come before everything is printed.
func TestDevStopsBeforeItHasPrintedTheConsole(t *testing.T) {
	t.Parallel()
	for _, printed := range []string{"2. Exchange", "\nNext\n", "Public client:"} {
		s := &server{process: start(t, nil, "dev", "--data", filepath.Join(t.TempDir(), "data"), "--listen", freeAddress(t))}
		for !strings.Contains(s.out.String(), printed) && s.running() { // without a pause: the rest follows within milliseconds
			runtime.Gosched()
		}
		interrupt(t, s)
	}
}

func interrupt(t *testing.T, s *server) {
	t.Helper()
	s.signal(os.Interrupt)
	if code := s.wait(); code != 0 {
		t.Errorf("SIGINT: exit code %d", code)
	}
}

// listing returns the files in a folder with their modes.
func listing(t *testing.T, folder string) string {
	t.Helper()
	var text bytes.Buffer
	must(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		fmt.Fprintf(&text, "%s %s\n", info.Mode(), name)
		return err
	}))
	return text.String()
}

// shellRun is the result of commands in a shell.
type shellRun struct {
	commands  []string // that print a response
	answers   []*response
	variables map[string]string
}

// runPrinted runs lines in one shell, which stops at the first failure.
func runPrinted(t *testing.T, shell string, lines []string, variables ...string) shellRun {
	t.Helper()
	const mark = "\n=== next ===\n"
	script := "set -eu\n"
	for _, line := range lines {
		script += line + "\nprintf '" + strings.ReplaceAll(mark, "\n", `\n`) + "'\n"
	}
	for _, name := range variables {
		script += `printf '%s' "$` + name + `"; printf '` + strings.ReplaceAll(mark, "\n", `\n`) + "'\n"
	}
	cmd := exec.CommandContext(t.Context(), shell)
	cmd.Stdin = strings.NewReader(script)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("%s: %v\n%s\n%s", shell, err, complaints.String(), out)
	}
	parts := strings.Split(strings.TrimSuffix(string(out), mark), mark)
	run := shellRun{variables: map[string]string{}}
	for i, line := range lines {
		if strings.HasPrefix(line, "curl ") {
			run.commands, run.answers = append(run.commands, line), append(run.answers, parse(200, nil, []byte(parts[i])))
		} else if parts[i] != "" {
			t.Errorf("%s\nprinted %s", line, parts[i])
		}
	}
	for i, name := range variables {
		run.variables[name] = parts[len(lines)+i]
	}
	return run
}
