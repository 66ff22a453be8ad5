package testsdk

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/settings"
)

// appDeployment is a server with the clients web (public), backend (secret,
// with session tokens) and support (manages sessions), over a network that can
// lose responses.
type appDeployment struct {
	*testserver.Server
	issuer *testserver.Issuer
	web    *latchkey.Client
	losing atomic.Int64 // the number of responses to POSTs to lose next
	posts  atomic.Int64
	t      *testing.T
}

func eachAppDeployment(t *testing.T, test func(t *testing.T, w *appDeployment)) {
	testdb.Each(t, func(t *testing.T, url string) {
		clock := testserver.NewClock()
		clock.Advance(-24 * time.Hour) // golang.org/x/oauth2 sees only expired tokens, so it calls its source each time
		w := &appDeployment{issuer: testserver.NewIssuer(t, clock), t: t}
		w.Server = testserver.New(t, testserver.Options{DatabaseURL: url, Clock: clock})
		web := testserver.Web()
		longest := settings.Duration(60 * 24 * time.Hour)
		web.MaxLifetime = &longest
		support := settings.ClientSpec{ID: "support", Secret: testserver.ClientSecret, ClientSettings: settings.ClientSettings{Auth: settings.AuthSecret, ManageSessions: true}}
		w.Apply(testserver.Tenant("default", w.issuer, web, testserver.Backend(), support))
		w.web = w.client("web", latchkey.ClientOptions{})
		test(t, w)
	})
}

// client returns an app's client with the server's clock.
func (w *appDeployment) client(id string, o latchkey.ClientOptions) *latchkey.Client {
	w.t.Helper()
	o.HTTPClient, o.Now = &http.Client{Transport: w}, w.Clock.Now
	if id != "web" {
		o.ClientSecret = testserver.ClientSecret
	}
	c, err := latchkey.NewClient(w.URL, id, o)
	w.ok(err)
	return c
}

// RoundTrip implements http.RoundTripper. A request whose response is lost has been
// executed.
func (w *appDeployment) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && r.Method == http.MethodPost {
		w.posts.Add(1)
		if w.losing.Add(-1) >= 0 {
			answer.Body.Close()
			return nil, errors.New("connection reset by peer")
		}
	}
	return answer, err
}

// lose loses the next n responses.
func (w *appDeployment) lose(n int64) { w.losing.Store(n) }

// proof returns a client token.
func (w *appDeployment) proof(sub string, amr ...string) string {
	return w.issuer.Token(w.URL, sub, map[string]any{"amr": amr})
}

func (w *appDeployment) signIn(c *latchkey.Client, sub string) *latchkey.Session {
	w.t.Helper()
	s, err := c.CreateSession(w.t.Context(), w.proof(sub, "pwd"), latchkey.CreateParams{DeviceName: sub + "'s phone"})
	w.ok(err)
	return s
}

func (w *appDeployment) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// active reports whether the server considers an access token active.
func (w *appDeployment) active(token string) bool {
	w.t.Helper()
	return w.Introspect("", token).JSON["active"] == true
}

// code returns the OAuth error code of an error, or an empty string.
func code(err error) string {
	var refusal *latchkey.Error
	if !errors.As(err, &refusal) {
		return ""
	}
	return refusal.Code
}

func bearerOf(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token
}
