package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// program is Latchkey, built from this repository.
var program string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "sign-in")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(folder, "latchkey")
	out, err := exec.Command("go", "build", "-C", "../..", "-o", program, "./cmd/latchkey").CombinedOutput()
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		os.Stderr.Write(out)
	}
	os.RemoveAll(folder)
	os.Exit(code)
}

// example is the back end at a Latchkey of its own.
type example struct {
	*testing.T
	issuer, url string
	mu          sync.Mutex
	mails       []string
}

func start(t *testing.T) *example {
	e := &example{T: t}
	var handler http.Handler
	back := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(back.Close)
	_, port, err := net.SplitHostPort(back.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	e.url = "http://localhost:" + port
	e.issuer = startLatchkey(t, port)
	s, err := newServer(e.url, &latchkey{e.issuer, "backend", "backend-secret-for-development-only"}, func(to, text string) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.mails = append(e.mails, to+" "+text)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.verifier.Close() })
	handler = s.handler()
	back.Start()
	return e
}

// startLatchkey serves latchkey.yaml, with another port for Latchkey and for the back end.
func startLatchkey(t *testing.T, backPort string) (issuer string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	folder := t.TempDir()
	file := filepath.Join(folder, "latchkey.yaml")
	text, err := os.ReadFile("latchkey.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.NewReplacer("localhost:8080", "localhost:"+port, "localhost:9100", "localhost:"+backPort).Replace(string(text)))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(program, "serve", "--config", file)
	cmd.Dir, cmd.Stderr = folder, &log
	cmd.Env = append(os.Environ(), "LATCHKEY_LISTEN=127.0.0.1:"+port, "LATCHKEY_ADMIN_LISTEN=none", "LATCHKEY_METRICS_LISTEN=none", "LATCHKEY_SHUTDOWN_DELAY=0s")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("Latchkey: %v\n%s", err, log.String())
		}
	})
	issuer = "http://localhost:" + port
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if response, err := http.Get(issuer + "/readyz"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return issuer
			}
		}
	}
	t.Fatal("Latchkey does not become ready")
	return ""
}

func (e *example) post(address string, form url.Values) (status int, body map[string]any) {
	e.Helper()
	response, err := http.PostForm(address, form)
	if err != nil {
		e.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		e.Fatal(err)
	}
	_ = json.Unmarshal(text, &body)
	return response.StatusCode, body
}

// exchange exchanges a client token, which must work once, and returns the claims of
// the access token.
func (e *example) exchange(clientToken any) (claims map[string]any) {
	e.Helper()
	text, _ := clientToken.(string)
	form := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "client_id": {"web"},
		"subject_token": {text}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
	}
	status, tokens := e.post(e.issuer+"/token", form)
	if status != http.StatusOK || tokens["refresh_token"] == nil {
		e.Fatalf("the exchange: %d %v", status, tokens)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(tokens["access_token"].(string), ".")[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		e.Fatal(err)
	}
	if status, again := e.post(e.issuer+"/token", form); status != http.StatusBadRequest || again["latchkey_reason"] != "subject_token_spent" {
		e.Errorf("the second exchange: %d %v", status, again)
	}
	return claims
}

func TestSignInByPassword(t *testing.T) {
	e := start(t)
	status, body := e.post(e.url+"/password", url.Values{"email": {"alice@example.com"}, "password": {"correct horse battery staple"}})
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, body)
	}
	claims := e.exchange(body["client_token"])
	if claims["email"] != "alice@example.com" || claims["acr"] != "urn:latchkey:acr:1" || len(claims["amr"].([]any)) != 1 || claims["amr"].([]any)[0] != "pwd" {
		t.Errorf("claims %v", claims)
	}
	for _, form := range []url.Values{
		{"email": {"alice@example.com"}, "password": {"correct horse battery stapler"}},
		{"email": {"alice@example.com"}},
		{"email": {"mallory@example.com"}, "password": {"correct horse battery staple"}},
		{},
	} {
		if status, body := e.post(e.url+"/password", form); status != http.StatusUnauthorized || body != nil {
			t.Errorf("%v: %d %v", form, status, body)
		}
	}
}

// link returns the link of the email to alice. Nobody else gets one.
func (e *example) link() string {
	e.Helper()
	for _, email := range []string{"mallory@example.com", "alice@example.com"} {
		if status, _ := e.post(e.url+"/link", url.Values{"email": {email}}); status != http.StatusAccepted {
			e.Errorf("%s: %d", email, status)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.mails) != 1 || !strings.HasPrefix(e.mails[0], "alice@example.com ") {
		e.Fatalf("mails %q", e.mails)
	}
	return strings.TrimPrefix(e.mails[0], "alice@example.com ")
}

func TestSignInByLinkOnce(t *testing.T) {
	e := start(t)
	token, ok := strings.CutPrefix(e.link(), e.url+"/#link=")
	if !ok {
		t.Fatalf("mails %q", e.mails)
	}
	status, body := e.post(e.url+"/link/redeem", url.Values{"token": {token}})
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, body)
	}
	if claims := e.exchange(body["client_token"]); claims["acr"] != nil || claims["email"] != "alice@example.com" || claims["amr"].([]any)[0] != "email" {
		t.Errorf("claims %v", claims)
	}
	for _, token := range []string{token, "", "A"} {
		if status, body := e.post(e.url+"/link/redeem", url.Values{"token": {token}}); status != http.StatusUnauthorized || body != nil {
			t.Errorf("%q: %d %v", token, status, body)
		}
	}
}

func TestOnlySignedInUsersAddPasskeys(t *testing.T) {
	e := start(t)
	for _, path := range []string{"/passkey/add/options", "/passkey/add"} {
		if status, _ := e.post(e.url+path, nil); status != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", path, status)
		}
	}
	if status, _ := e.post(e.url+"/passkey", nil); status != http.StatusBadRequest {
		t.Errorf("a passkey without options: %d", status)
	}
}

func TestRequestsOfOtherOriginsAreRejected(t *testing.T) {
	s := &server{latchkey: &latchkey{}, signedIn: func(h http.Handler) http.Handler { return h }}
	r := httptest.NewRequest("POST", "/password", nil)
	r.Header.Set("Origin", "https://evil.example.com")
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("status %d", w.Code)
	}
}

func TestATokenExpiresAndIsTakenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOnce[string](15 * time.Minute)
		first, second := o.put("a"), o.put("b")
		time.Sleep(15*time.Minute - 1)
		if v, ok := o.take(first); !ok || v != "a" {
			t.Errorf("before the end: %q, %t", v, ok)
		}
		if _, ok := o.take(first); ok {
			t.Error("taken twice")
		}
		time.Sleep(time.Millisecond)
		if _, ok := o.take(second); ok {
			t.Error("taken after the end")
		}
	})
}

func TestOneOfManyTakesAToken(t *testing.T) {
	o := newOnce[int](time.Minute)
	token := o.put(1)
	var wg sync.WaitGroup
	taken := make(chan bool, 50)
	for range cap(taken) {
		wg.Go(func() {
			_, ok := o.take(token)
			taken <- ok
		})
	}
	wg.Wait()
	close(taken)
	count := 0
	for ok := range taken {
		if ok {
			count++
		}
	}
	if count != 1 {
		t.Errorf("taken %d times", count)
	}
}
