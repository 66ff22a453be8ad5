package testsdk

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/resource"
	"github.com/latchkey/latchkey/settings"
)

// audience is the name of the resource server in these tests.
const audience = "https://api.example.com"

// deployment is a number of nodes over one database that follow its event log.
type deployment struct {
	t      *testing.T
	nodes  []*testserver.Server // the first is the one in the issuer URL
	issuer *testserver.Issuer   // of client tokens
	tenant settings.TenantSpec
}

// deploy starts nodes with the clients web (public) and backend (secret).
func deploy(t *testing.T, databaseURL string, nodes int) *deployment {
	t.Helper()
	clock := testserver.NewClock()
	d := &deployment{t: t, issuer: testserver.NewIssuer(t, clock)}
	for len(d.nodes) < nodes {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o := testserver.Options{DatabaseURL: databaseURL, Clock: clock, Listener: listener, Run: true}
		if len(d.nodes) > 0 {
			o.Issuer = d.nodes[0].URL
		}
		node := testserver.New(t, o)
		node.URL = "http://" + listener.Addr().String()
		d.nodes = append(d.nodes, node)
	}
	d.apply(nil)
	return d
}

// apply changes the tenant and makes every node read the change.
func (d *deployment) apply(change func(*settings.TenantSpec)) {
	d.t.Helper()
	d.tenant = testserver.Tenant("default", d.issuer, testserver.Web(), testserver.Backend())
	if change != nil {
		change(&d.tenant)
	}
	for _, node := range d.nodes {
		node.Apply(d.tenant)
	}
}

func (d *deployment) url() string { return d.nodes[0].URL }

func (d *deployment) clock() *testserver.Clock { return d.nodes[0].Clock }

// signIn creates a session at the client web, with a token for the resource
// server.
func (d *deployment) signIn(sub string) *testserver.Answer {
	d.t.Helper()
	a := d.nodes[0].Exchange("", "web", d.issuer.Token(d.url(), sub, nil), "audience", audience)
	if a.Status != 200 {
		d.t.Fatalf("status %d %s", a.Status, a.Body)
	}
	return a
}

// signOut ends the session of a token response at a node.
func (d *deployment) signOut(node int, a *testserver.Answer) {
	d.t.Helper()
	if got := d.nodes[node].Post("/revoke", []string{"client_id", "web", "token", a.Text("refresh_token")}); got.Status != 200 {
		d.t.Fatalf("status %d %s", got.Status, got.Body)
	}
}

// verifier returns a verifier of the resource server, with the deployment's
// clock.
func (d *deployment) verifier(changes ...func(*resource.VerifierOptions)) *resource.Verifier {
	d.t.Helper()
	o := resource.VerifierOptions{
		ClientID: "backend", ClientSecret: testserver.ClientSecret, Now: d.clock().Now, Logger: slog.New(slog.DiscardHandler),
	}
	for _, change := range changes {
		change(&o)
	}
	v, err := resource.NewVerifier(d.url(), audience, o)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { v.Close() })
	return v
}

// verifies checks the result of verifying a token; nil: it must be accepted.
func (d *deployment) verifies(v *resource.Verifier, token string, want error) {
	d.t.Helper()
	if _, err := v.Verify(d.t.Context(), token); !errors.Is(err, want) {
		d.t.Errorf("verifies with %v, want %v", err, want)
	}
}

// until waits for a condition. Only a failing test waits for long.
func (d *deployment) until(so func() bool) {
	d.t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			d.t.Fatal("still waiting")
		}
	}
}

// untilRefused waits until a verifier rejects a token.
func (d *deployment) untilRefused(v *resource.Verifier, token string) {
	d.t.Helper()
	d.until(func() bool {
		_, err := v.Verify(d.t.Context(), token)
		return errors.Is(err, latchkey.ErrInvalidToken)
	})
}

// pass advances the clock in steps that do not count as silence: after each, a node has
// read the log and the verifiers have received a heartbeat.
func (d *deployment) pass(duration time.Duration, verifiers ...*resource.Verifier) {
	d.t.Helper()
	const step = 9 * time.Second
	for ; duration > 0; duration -= step {
		d.clock().Advance(min(duration, step))
		now := d.clock().Now()
		for _, v := range verifiers {
			d.until(func() bool { return now.Sub(v.Status().RevocationsAsOf) < 2*step })
		}
	}
}

// run advances the clock like real time until the returned function is called.
func (d *deployment) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		last := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				d.clock().Advance(now.Sub(last))
				last = now
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// link is a verifier's network, on which a test can cut the requests for a
// path.
type link struct {
	path string // empty: all paths

	mu   sync.Mutex
	cut  bool
	open map[io.Closer]struct{}
}

var errCut = errors.New("the network is cut")

// over makes a verifier use the link.
func (l *link) over(o *resource.VerifierOptions) { o.HTTPClient = &http.Client{Transport: l} }

// Cut ends open connections and blocks new ones, or allows them again.
func (l *link) Cut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	for body := range l.open {
		if cut {
			body.Close()
		}
	}
}

// RoundTrip implements http.RoundTripper.
func (l *link) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Path, l.path) {
		return http.DefaultTransport.RoundTrip(r)
	}
	l.mu.Lock()
	cut := l.cut
	l.mu.Unlock()
	if cut {
		return nil, errCut
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		resp.Body.Close()
		return nil, errCut
	}
	if l.open == nil {
		l.open = map[io.Closer]struct{}{}
	}
	l.open[resp.Body] = struct{}{}
	return resp, nil
}
