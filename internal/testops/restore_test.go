package testops

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
)

// runbook runs the shell commands in docs/operations.md that begin with a command, in a
// folder with latchkey.yaml.
func runbook(t *testing.T, folder, database, begin string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	must(t, err)
	_, rest, found := strings.Cut(string(page), "```sh\n"+begin)
	block, _, _ := strings.Cut(rest, "```")
	if !found {
		t.Fatalf("docs/operations.md has no commands that begin with %s", begin)
	}
	binary, err := latchkey()
	must(t, err)
	cmd := exec.Command("bash", "-euc", begin+block)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "DATABASE_URL="+database, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s%s: %v\n%s", begin, block, err, out)
	}
	return string(out)
}

// call sends a request to the node and returns its response.
func (n *node) call(t *testing.T, path string, form url.Values, headers ...string) (status int, answer map[string]any) {
	t.Helper()
	method := http.MethodPost
	if form == nil {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:"+text(n.port)+path, strings.NewReader(form.Encode()))
	must(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Forwarded-For", "192.0.2.1")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if form == nil {
		req.SetBasicAuth("api", apiSecret)
	}
	resp, err := n.plain.Do(req)
	must(t, err)
	defer resp.Body.Close()
	if req.Header.Get("Accept") == "text/event-stream" {
		line, err := bufio.NewReader(resp.Body).ReadString('\n')
		must(t, err)
		return resp.StatusCode, map[string]any{"first": line}
	}
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	_ = json.Unmarshal(body, &answer) // an empty response stays nil
	return resp.StatusCode, answer
}

func (n *node) signIn(t *testing.T, token string) (status int, answer map[string]any) {
	t.Helper()
	return n.call(t, "/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "client_id": {"web"},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "subject_token": {token},
	})
}

func (n *node) refresh(t *testing.T, token any) (status int, answer map[string]any) {
	t.Helper()
	return n.call(t, "/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"web"}, "refresh_token": {token.(string)}})
}

// The test runs both parts of the runbook as written in docs/operations.md.
func TestARestoreRevivesNoSession(t *testing.T) {
	folder, database := t.TempDir(), testdb.EmptyPostgres(t)
	n := newNode(t, folder, database)
	must(t, os.Rename(n.file, filepath.Join(folder, "latchkey.yaml")))
	n.file = filepath.Join(folder, "latchkey.yaml")

	_, signedOut := n.signIn(t, clientToken("https://"+host))
	_, kept := n.signIn(t, clientToken("https://"+host))
	_, feed := n.call(t, "/revocations", nil)
	runbook(t, folder, database, "pg_dump")

	if status, a := n.call(t, "/revoke", url.Values{"client_id": {"web"}, "token": {signedOut["refresh_token"].(string)}}); status != 200 {
		t.Fatalf("sign out: %d %v", status, a)
	}
	used := clientToken("https://" + host)
	if status, a := n.signIn(t, used); status != 200 {
		t.Fatalf("sign in: %d %v", status, a)
	}
	n.stop(t)
	if said := runbook(t, folder, database, "pg_restore"); !strings.Contains(said, "2 sessions ended.") {
		t.Errorf("restored prints %s", said)
	}
	n.start(t)

	for name, session := range map[string]map[string]any{"that was signed out after the backup": signedOut, "that was not": kept} {
		if status, a := n.refresh(t, session["refresh_token"]); status != 400 || a["error"] != "invalid_grant" || a["latchkey_end_reason"] != "restored" {
			t.Errorf("a session %s: %d %v", name, status, a)
		}
	}
	if status, a := n.signIn(t, used); status != 400 || a["latchkey_reason"] != "subject_token_before_restore" {
		t.Errorf("a client token that was used after the backup: %d %v", status, a)
	}
	status, after := n.call(t, "/revocations?cursor="+url.QueryEscape(feed["cursor"].(string)), nil)
	revoked, _ := after["revoked"].([]any)
	refused := slices.ContainsFunc(revoked, func(entry any) bool {
		e := entry.(map[string]any)
		return e["client_id"] == "web" && e["before"] != nil
	})
	if status != 200 || !refused {
		t.Errorf("a reader of the feed gets %d %v; want every token of the client from before", status, after)
	}
	if _, a := n.call(t, "/revocations", nil, "Accept", "text/event-stream", "Last-Event-ID", feed["cursor"].(string)); !strings.HasPrefix(a["first"].(string), "event: snapshot") {
		t.Errorf("a follower of the feed gets %q first", a["first"])
	}
	deadline := time.Now().Add(time.Minute)
	for status, a := 0, map[string]any(nil); status != 200; time.Sleep(50 * time.Millisecond) { // `iat` is in whole seconds
		status, a = n.signIn(t, clientToken("https://"+host))
		if status != 200 && a["latchkey_reason"] != "subject_token_before_restore" || time.Now().After(deadline) {
			t.Fatalf("a new sign-in: %d %v", status, a)
		}
	}
}
