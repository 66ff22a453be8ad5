package testwire

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// newNode starts another server with the database, clock and issuer of d, like another
// node behind a load balancer.
func newNode(d *testserver.Deployment, roots ...string) *testserver.Server {
	d.T.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.T.Fatal(err)
	}
	node := testserver.New(d.T, testserver.Options{DatabaseURL: d.DatabaseURL, Clock: d.Clock, Roots: roots, Issuer: d.URL, Listener: listener})
	node.URL = "http://" + listener.Addr().String()
	return node
}

// load is traffic that an operator's actions must not disturb. Each worker keeps a
// session alive, and checks every token at a node and with a verifier that caches the
// key set for its max-age.
type load struct {
	t          *testing.T
	deployment *testserver.Deployment
	nodes      atomic.Pointer[[]*testserver.Server]
	rounds     []atomic.Int64
	clock      sync.RWMutex // held by a round, so that the clock does not jump
	stop       chan struct{}
	ended      sync.WaitGroup
}

// newLoad starts the traffic at the nodes. It ends with the test.
func newLoad(d *testserver.Deployment, nodes ...*testserver.Server) *load {
	l := &load{t: d.T, deployment: d, rounds: make([]atomic.Int64, 3), stop: make(chan struct{})}
	l.nodes.Store(&nodes)
	for i := range l.rounds {
		first := d.SignIn("alice")
		l.ended.Go(func() { l.work(i, first) })
	}
	d.T.Cleanup(l.end)
	return l
}

func (l *load) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.ended.Wait()
}

// settle waits until every worker has used the current state. It waits for all at once:
// waiting for each in turn would multiply the number of rounds.
func (l *load) settle() {
	l.t.Helper()
	seen := make([]int64, len(l.rounds))
	for i := range l.rounds {
		seen[i] = l.rounds[i].Load()
	}
	for i := range l.rounds {
		for deadline := time.Now().Add(time.Minute); l.rounds[i].Load() < seen[i]+2; time.Sleep(time.Millisecond) {
			if l.t.Failed() || time.Now().After(deadline) {
				l.t.Fatal("the load has come to a halt")
			}
		}
	}
}

// pass advances the clock in steps, in each of which every worker makes requests.
func (l *load) pass(elapsed, step time.Duration) {
	l.t.Helper()
	for ; elapsed > 0; elapsed -= step {
		l.deployment.Clock.Advance(min(step, elapsed))
		l.settle()
	}
}

// jump advances the clock by a long time between rounds, so that tokens expire.
func (l *load) jump(d time.Duration) {
	l.t.Helper()
	l.clock.Lock()
	l.deployment.Clock.Advance(d)
	l.clock.Unlock()
	l.settle()
}

func (l *load) work(i int, a *testserver.Answer) {
	verifier := &cachedKeys{clock: l.deployment.Clock}
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		default:
		}
		next := l.round(i+n, a, verifier)
		if next == nil {
			return
		}
		a = next
		l.rounds[i].Add(1)
	}
}

// round refreshes and checks the result. It returns nil after reporting a fault.
func (l *load) round(n int, a *testserver.Answer, verifier *cachedKeys) *testserver.Answer {
	l.clock.RLock()
	defer l.clock.RUnlock()
	nodes := *l.nodes.Load()
	at, other := nodes[n%len(nodes)], nodes[(n+1)%len(nodes)]
	next := at.Refresh("", "web", a.Text("refresh_token"))
	if next.Status != 200 {
		l.t.Errorf("refresh: %d %s", next.Status, next.Body)
		return nil
	}
	machine := at.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", testserver.ClientSecret))
	for _, token := range []string{next.Text("access_token"), machine.Text("access_token")} {
		if seen := other.Introspect("", token); seen.JSON["active"] != true {
			l.t.Errorf("a token just issued, at the other node: %d %s", seen.Status, seen.Body)
			return nil
		}
		if !verifier.knows(at, kidOf(token)) {
			l.t.Errorf("a token was signed with a key that a verifier could not know")
			return nil
		}
	}
	return next
}

// cachedKeys is a key set that is cached for its max-age, like that of a verifier.
type cachedKeys struct {
	clock   *testserver.Clock
	fetched time.Time
	kids    map[string]bool
}

func (c *cachedKeys) knows(at *testserver.Server, kid string) bool {
	if now := c.clock.Now(); now.Sub(c.fetched) >= 5*time.Minute {
		c.fetched, c.kids = now, map[string]bool{}
		keys, _ := at.Get("/.well-known/jwks.json").JSON["keys"].([]any)
		for _, k := range keys {
			key, _ := k.(map[string]any)
			id, _ := key["kid"].(string)
			c.kids[id] = true
		}
	}
	return c.kids[kid]
}

// kidOf returns the kid in the header of a token.
func kidOf(token string) string {
	encoded, _, _ := strings.Cut(token, ".")
	raw, _ := base64.RawURLEncoding.DecodeString(encoded)
	var header struct{ Kid string }
	_ = json.Unmarshal(raw, &header)
	return header.Kid
}

// signingKeys returns the tenant's keys as an operator sees them.
func signingKeys(d *testserver.Deployment) []models.SigningKey {
	d.T.Helper()
	keys, err := d.Store.SigningKeys(d.T.Context(), "default")
	if err != nil {
		d.T.Fatal(err)
	}
	return keys
}
