package testops

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	clientTokenSecret = "a-shared-secret-of-the-authentication-service"
	apiSecret         = "the-secret-of-a-resource-server-of-40-chars"
)

// clientToken returns a client token of the trusted issuer.
func clientToken(issuer string) string {
	now := time.Now().Unix()
	claims, _ := json.Marshal(map[string]any{
		"iss": "https://auth.example.com", "aud": issuer, "sub": "user-" + rand.Text()[:4], "jti": rand.Text(), "iat": now, "exp": now + 60,
		"amr": []string{"pwd"},
	})
	part := base64.RawURLEncoding.EncodeToString
	input := part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part(claims)
	mac := hmac.New(sha256.New, []byte(clientTokenSecret))
	mac.Write([]byte(input))
	return input + "." + part(mac.Sum(nil))
}

// load is users who constantly sign in, refresh, introspect and sign out, and a follower
// of the revocation feed. Every unexpected response is a failure.
type load struct {
	issuer   string
	client   *http.Client
	requests atomic.Int64

	mu       sync.Mutex
	failures []string

	stop context.CancelFunc
	done sync.WaitGroup
}

func startLoad(ctx context.Context, issuer string, client *http.Client, users int) *load {
	l := &load{issuer: issuer, client: client}
	ctx, l.stop = context.WithCancel(ctx)
	for range users {
		l.done.Go(func() {
			for ctx.Err() == nil {
				l.user(ctx)
			}
		})
	}
	l.done.Go(func() {
		for ctx.Err() == nil {
			l.follow(ctx)
		}
	})
	return l
}

// end stops the load and reports what failed.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.done.Wait()
	for i, failure := range l.failures {
		if i < 10 {
			t.Error(failure)
		}
	}
	if n := l.requests.Load(); len(l.failures) > 0 || n < 100 {
		t.Errorf("%d of %d requests failed", len(l.failures), n)
	} else {
		t.Logf("%d requests, none failed", n)
	}
}

func (l *load) fail(ctx context.Context, format string, args ...any) {
	if ctx.Err() != nil {
		return // canceled by the end of the test
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// post sends a form and requires 200.
func (l *load) post(ctx context.Context, path, user, secret string, form url.Values) map[string]any {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if user != "" {
		r.SetBasicAuth(user, secret)
	}
	l.requests.Add(1)
	answer, err := l.client.Do(r)
	if err != nil {
		l.fail(ctx, "POST %s %s: %v", path, form.Get("grant_type"), err)
		return nil
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		l.fail(ctx, "POST %s %s: %d %.200s %v", path, form.Get("grant_type"), answer.StatusCode, body, err)
		return nil
	}
	var object map[string]any
	_ = json.Unmarshal(body, &object) // /revoke has no body
	return object
}

// user runs the sessions of one user.
func (l *load) user(ctx context.Context) {
	a := l.post(ctx, "/token", "", "", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "client_id": {"web"},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "subject_token": {clientToken(l.issuer)},
	})
	for range 5 {
		refresh, _ := a["refresh_token"].(string)
		if refresh == "" {
			return
		}
		if a = l.post(ctx, "/token", "", "", url.Values{"grant_type": {"refresh_token"}, "client_id": {"web"}, "refresh_token": {refresh}}); a == nil {
			return
		}
		access, _ := a["access_token"].(string)
		if got := l.post(ctx, "/introspect", "api", apiSecret, url.Values{"token": {access}}); got != nil && got["active"] != true {
			l.fail(ctx, "an access token is inactive")
		}
	}
	refresh, _ := a["refresh_token"].(string)
	l.post(ctx, "/revoke", "", "", url.Values{"client_id": {"web"}, "token": {refresh}})
}

// follow reads the revocation feed, and reconnects when the node closes it.
func (l *load) follow(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.issuer+"/revocations", nil)
	if err != nil {
		panic(err)
	}
	r.SetBasicAuth("api", apiSecret)
	r.Header.Set("Accept", "text/event-stream")
	l.requests.Add(1)
	answer, err := l.client.Do(r)
	if err != nil {
		l.fail(ctx, "GET /revocations: %v", err)
		return
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		l.fail(ctx, "GET /revocations: %d", answer.StatusCode)
		time.Sleep(100 * time.Millisecond)
		return
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 16<<20)
	seen := false
	for lines.Scan() {
		seen = true
	}
	if !seen {
		l.fail(ctx, "the stream of revocations ends before its snapshot")
	}
}
