package main

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// pause simulates a wait that is longer than any retry window: it moves all rotations
// in the database five minutes into the past.
func pause(t *testing.T, url string) {
	t.Helper()
	statement(t, url, "UPDATE sessions SET rotated_at = rotated_at - 300 * 1000000::bigint WHERE rotated_at IS NOT NULL")
}

// untilAnswered repeats a request while the server returns 503.
func untilAnswered(t *testing.T, request func() *response) (got *response) {
	t.Helper()
	eventually(t, "another answer than 503", func() bool { got = request(); return got.status != 503 })
	return got
}

func TestANodeReturns503DuringAnOutageAndRecovers(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	proxy := testdb.NewProxy(t, url)
	d := newRaceDeployment(t, url)
	whole, cut := d.serve(), d.serve("LATCHKEY_DATABASE_URL="+proxy.URL())
	session := d.signIn(cut, "alice")
	refresh, access := session.text("refresh_token"), session.text("access_token")
	credentials := func() *response {
		return cut.post("/token", []string{"grant_type", "client_credentials"}, basic("backend", testserver.ClientSecret))
	}

	check := func(when string) {
		t.Helper()
		for name, got := range map[string]*response{
			"exchange":                         cut.exchange(d.clientToken("alice", nil)),
			"refresh":                          cut.refresh(refresh),
			"revocation of a refresh token":    cut.revoke(refresh),
			"revocation of an access token":    cut.revoke(access),
			"introspection of an access token": cut.introspect(access),
			"introspection of a refresh token": cut.introspect(refresh),
		} {
			if got.status != 503 || got.text("error") != "temporarily_unavailable" || got.header.Get("Retry-After") == "" {
				t.Errorf("%s, %s: %d %s, Retry-After %q", when, name, got.status, got.body, got.header.Get("Retry-After"))
			}
		}
		eventually(t, "not ready", func() bool { return cut.get("/readyz").status == 503 }) // readiness is checked once a second
		for path, want := range map[string]int{"/.well-known/jwks.json": 200, "/.well-known/openid-configuration": 200, "/healthz": 200} {
			if got := cut.get(path); got.status != want {
				t.Errorf("%s, %s: %d %s", when, path, got.status, got.body)
			}
		}
		if kids := cut.kids(); len(kids) != 1 {
			t.Errorf("%s, it publishes %v", when, kids)
		}
	}
	proxy.Cut()
	check("at once")
	if got := credentials(); got.status != 200 {
		t.Errorf("client credentials, which need no database: %d %s", got.status, got.body)
	}
	eventually(t, "its view of the configuration is too old", func() bool { return credentials().status == 503 })
	check("with an old view")
	if got := whole.introspect(access); !got.is(true) {
		t.Errorf("the other node: %d %s", got.status, got.body)
	}

	proxy.Heal()
	next := untilAnswered(t, func() *response { return cut.refresh(refresh) })
	if next.status != 200 || !whole.introspect(next.text("access_token")).is(true) {
		t.Fatalf("the refresh that was interrupted, repeated: %d %s", next.status, next.body)
	}
	eventually(t, "ready", func() bool { return cut.get("/readyz").status == 200 })
	if got := cut.revoke(next.text("refresh_token")); got.status != 200 || !whole.introspect(next.text("access_token")).is(false) {
		t.Errorf("the revocation that was interrupted, repeated: %d %s", got.status, got.body)
	}
}

func TestAConnectionCutDuringARefreshLosesNoSession(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	proxy := testdb.NewProxy(t, url)
	d := newRaceDeployment(t, url)
	whole, cut := d.serve(), d.serve("LATCHKEY_DATABASE_URL="+proxy.URL())
	tokens := make([]string, 200) // the last refresh token of each session
	each := func(do func(i int)) {
		var running sync.WaitGroup
		var next atomic.Int32
		for range 32 {
			running.Go(func() {
				for i := int(next.Add(1)) - 1; i < len(tokens); i = int(next.Add(1)) - 1 {
					do(i)
				}
			})
		}
		running.Wait()
	}
	signedIn := make([]*response, len(tokens))
	clientTokens := make([]string, len(tokens))
	for i := range clientTokens {
		clientTokens[i] = d.clientToken("alice", nil)
	}
	each(func(i int) { signedIn[i] = []*server{whole, cut}[i%2].exchange(clientTokens[i]) })
	for i, a := range signedIn {
		if tokens[i] = a.text("refresh_token"); tokens[i] == "" {
			t.Fatalf("sign in: %d %s", a.status, a.body)
		}
	}

	for round := range 3 {
		moment, answered, unanswered := int32(rand.IntN(len(tokens)/2)), atomic.Int32{}, atomic.Int32{}
		each(func(i int) {
			got := cut.refresh(tokens[i])
			switch {
			case got.status == 200:
				tokens[i] = got.text("refresh_token")
				if answered.Add(1) == moment+1 {
					proxy.Cut()
				}
			case got.status == 503 && got.text("error") == "temporarily_unavailable":
				unanswered.Add(1)
			default:
				t.Errorf("round %d, during the cut: %d %s", round, got.status, got.body)
			}
		})
		if answered.Load() == 0 || unanswered.Load() == 0 {
			t.Errorf("round %d: %d got a response, %d did not: the cut was not in the middle", round, answered.Load(), unanswered.Load())
		}
		t.Logf("round %d: %d refreshes got a response, %d did not", round, answered.Load(), unanswered.Load())
		pause(t, url)
		proxy.Heal()
		eventually(t, "ready", func() bool { return cut.get("/readyz").status == 200 })
		each(func(i int) {
			got := cut.refresh(tokens[i])
			for got.status == 503 {
				got = cut.refresh(tokens[i])
			}
			if got.status != 200 || got.text("refresh_token") == tokens[i] {
				t.Errorf("round %d, session %d, its last token tried again: %d %s", round, i, got.status, got.body)
			}
			if seen := whole.introspect(got.text("access_token")); !seen.is(true) {
				t.Errorf("round %d, session %d afterwards: %d %s", round, i, seen.status, seen.body)
			}
			tokens[i] = got.text("refresh_token")
		})
		if t.Failed() {
			return
		}
	}
	if n := count(t, url, "SELECT count(*) FROM sessions WHERE ended_at IS NULL"); n != len(tokens) {
		t.Errorf("%d of %d sessions are alive", n, len(tokens))
	}
}

// newHeldDeployment returns a deployment with one server, and the relay that can hold
// back the responses of its database.
func newHeldDeployment(t *testing.T) (d *deployment, url string, s *server, r *relay) {
	t.Helper()
	url = testdb.Postgres(t)
	d = newRaceDeployment(t, url)
	r = newRelay(t, testdb.NewProxy(t, url).URL())
	return d, url, d.serve("LATCHKEY_DATABASE_URL=" + r.url), r
}

func TestARepeatedRefreshReturnsTheLostResponse(t *testing.T) {
	d, url, s, r := newHeldDeployment(t)
	token := s.refresh(d.signIn(s, "alice").text("refresh_token")).text("refresh_token")
	lost := make(chan *response, 1)
	var generation int
	for committed := false; !committed; {
		generation = count(t, url, "SELECT generation FROM sessions")
		r.holdResponses()
		go func() { lost <- s.refresh(token) }()
		committed = within(3*time.Second, func() bool { return count(t, url, "SELECT generation FROM sessions") == generation+1 })
		r.cut()
		if !committed { // the server had no free connection, and the relay lets it open none
			<-lost
			r.forward()
			token = untilAnswered(t, func() *response { return s.refresh(token) }).text("refresh_token")
		}
	}
	if got := <-lost; got.status != 503 || got.text("error") != "temporarily_unavailable" {
		t.Errorf("without an answer of the database: %d %s", got.status, got.body)
	}
	pause(t, url)
	r.forward()
	next := untilAnswered(t, func() *response { return s.refresh(token) })
	if next.status != 200 || count(t, url, "SELECT generation FROM sessions") != generation+1 {
		t.Fatalf("repeated: %d %s", next.status, next.body)
	}
	if after := s.refresh(next.text("refresh_token")); after.status != 200 {
		t.Errorf("the successor: %d %s", after.status, after.body)
	}
}

// A hanging database sends no response and breaks no connection.
func TestAHangingDatabaseCountsAsUnreachable(t *testing.T) {
	t.Parallel()
	d, _, s, r := newHeldDeployment(t)
	session := d.signIn(s, "alice")
	r.holdResponses()
	var asking sync.WaitGroup
	for name, request := range map[string]func() *response{
		"refresh":       func() *response { return s.refresh(session.text("refresh_token")) },
		"introspection": func() *response { return s.introspect(session.text("access_token")) },
		"revocation":    func() *response { return s.revoke(session.text("refresh_token")) },
	} {
		asking.Go(func() {
			if got := request(); got.status != 503 || got.text("error") != "temporarily_unavailable" || got.header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		})
	}
	asking.Wait()
	if ready := s.get("/readyz"); ready.status != 503 {
		t.Errorf("readiness: %d %s", ready.status, ready.body)
	}
	r.cut()
	r.forward()
	eventually(t, "ready", func() bool { return s.get("/readyz").status == 200 })
	if !strings.Contains(s.err.String(), "temporarily_unavailable") {
		t.Error("the log does not report it")
	}
}
