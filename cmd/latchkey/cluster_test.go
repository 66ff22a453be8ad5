package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
)

// parallel is the number of concurrent requests with one token, half of them at each
// of two processes.
const parallel = 64

// both sends concurrent requests to two servers, and returns the responses.
func both(a, b *server, request func(s *server) *response) []*response {
	answers := make([]*response, parallel)
	var ready, done sync.WaitGroup
	ready.Add(parallel)
	for i := range answers {
		done.Go(func() {
			s := []*server{a, b}[i%2]
			ready.Done()
			ready.Wait()
			answers[i] = request(s)
		})
	}
	done.Wait()
	return answers
}

func TestParallelRefreshesAtTwoNodesShareOneSuccessor(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	d := newRaceDeployment(t, url)
	a, b := d.serve(), d.serve()
	old := d.signIn(a, "alice").text("refresh_token")
	for round := range 5 {
		answers := both(a, b, func(s *server) *response { return s.refresh(old) })
		successor := answers[0].text("refresh_token")
		for _, got := range answers {
			if got.status != 200 || got.text("refresh_token") != successor || successor == old {
				t.Fatalf("round %d: %d %s, want the successor %s", round, got.status, got.body, successor)
			}
		}
		used := b.refresh(successor)
		if used.status != 200 {
			t.Fatalf("round %d: the successor: %d %s", round, used.status, used.body)
		}
		for _, s := range []*server{a, b} {
			if dead := s.refresh(old); dead.status != 400 || dead.text("error") != "invalid_grant" {
				t.Errorf("round %d: the old token after its successor was used: %d %s", round, dead.status, dead.body)
			}
			if seen := s.introspect(used.text("access_token")); !seen.is(true) {
				t.Errorf("round %d: the session afterwards: %d %s", round, seen.status, seen.body)
			}
		}
		old = used.text("refresh_token")
	}
	if n := count(t, url, "SELECT count(*) FROM sessions"); n != 1 {
		t.Errorf("there are %d sessions", n)
	}
}

func TestNoRefreshAtAnyNodeSucceedsOnceARevocationHasReturned(t *testing.T) {
	t.Parallel()
	d := newRaceDeployment(t, testdb.Postgres(t))
	a, b := d.serve(), d.serve()
	before, after := 0, 0
	for round := range 10 {
		session := d.signIn(a, fmt.Sprintf("user-%d", round))
		token := session.text("refresh_token")
		// The revocation is sent after this many responses, or at the start.
		moment := rand.IntN(parallel / 2)
		var answered atomic.Int32
		var revoked atomic.Bool
		var revocation *response
		var revoking sync.WaitGroup
		revoking.Go(func() {
			for int(answered.Load()) < moment {
				time.Sleep(time.Millisecond)
			}
			revocation = []*server{a, b}[round%2].revoke(token)
			revoked.Store(true)
		})
		answers := both(a, b, func(s *server) *response {
			late := revoked.Load()
			got := s.refresh(token)
			answered.Add(1)
			if late && got.status == 200 {
				t.Errorf("round %d: a refresh that began after the revocation had returned: %s", round, got.body)
			}
			return got
		})
		revoking.Wait()
		if revocation.status != 200 {
			t.Fatalf("round %d: revocation: %d %s", round, revocation.status, revocation.body)
		}
		accessTokens, successor := []string{session.text("access_token")}, token
		for _, got := range answers {
			switch {
			case got.status == 200:
				before++
				accessTokens, successor = append(accessTokens, got.text("access_token")), got.text("refresh_token")
			case got.status == 400 && got.text("error") == "invalid_grant":
				after++
			default:
				t.Errorf("round %d: %d %s", round, got.status, got.body)
			}
		}
		for _, s := range []*server{a, b} {
			for i, dead := range accessTokens {
				if seen := s.introspect(dead); !seen.is(false) {
					t.Errorf("round %d: access token %d after the revocation: %d %s", round, i, seen.status, seen.body)
				}
			}
			for _, dead := range []string{token, successor} {
				if got := s.refresh(dead); got.status != 400 || got.text("error") != "invalid_grant" {
					t.Errorf("round %d: a refresh after the revocation: %d %s", round, got.status, got.body)
				}
			}
		}
	}
	if before == 0 || after == 0 {
		t.Errorf("%d refreshes came before the revocation and %d after: nothing raced", before, after)
	}
}

func TestOneClientTokenOpensOneSessionOnAllNodes(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	d := newRaceDeployment(t, url)
	a, b := d.serve(), d.serve()
	for round := range 5 {
		token := d.clientToken("alice", nil) // the first round creates the user
		sessions := 0
		for _, got := range both(a, b, func(s *server) *response { return s.exchange(token) }) {
			switch {
			case got.status == 200:
				sessions++
			case got.status != 400 || got.text("error") != "invalid_request":
				t.Errorf("round %d: %d %s", round, got.status, got.body)
			}
		}
		if stored := count(t, url, "SELECT count(*) FROM sessions"); sessions != 1 || stored != round+1 {
			t.Errorf("round %d: %d exchanges succeeded, %d sessions are stored", round, sessions, stored)
		}
	}
	if users := count(t, url, "SELECT count(*) FROM users"); users != 1 {
		t.Errorf("alice is %d users", users)
	}
}

func TestNodesThatStartTogetherCreateOneSchemaAndOneKey(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{2, 4, 4, 4, 4} {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			url := testdb.Postgres(t)
			d := newDeployment(t, url)
			d.edit("signing_algorithm: ES256", "signing_algorithm: RS256") // RSA keys take long, so that all nodes generate one
			servers := make([]*server, nodes)
			for i := range servers {
				servers[i] = d.start()
			}
			for _, s := range servers {
				s.untilReady()
			}
			for table, want := range map[string]int{"tenants": 1, "clients": 2, "trusted_issuers": 1, "signing_keys": 1, "settings": 2} {
				if n := count(t, url, "SELECT count(*) FROM "+table); n != want {
					t.Errorf("%s has %d rows, want %d", table, n, want)
				}
			}
			for _, s := range servers {
				if kids := s.kids(); len(kids) != 1 || !slices.Equal(kids, servers[0].kids()) {
					t.Errorf("one publishes %v, another %v", kids, servers[0].kids())
				}
				if session := d.signIn(s, "alice"); !servers[0].introspect(session.text("access_token")).is(true) {
					t.Error("one does not know another's token")
				}
			}
		})
	}
}

// Nodes restart together with a new file, and the database already has the tenant.
// Only the lock on its row prevents two nodes from adding the same issuer.
func TestNodesThatStartTogetherMakeAChangeOnce(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	d := newDeployment(t, url)
	whole := d.text()
	before, rest, _ := strings.Cut(whole, "    trusted_issuers:")
	_, clients, _ := strings.Cut(rest, "    clients:")
	d.write("latchkey.yaml", before+"    clients:"+clients)
	d.run("apply")
	var many strings.Builder // enough for the nodes to apply them at the same time
	for i := range 60 {
		fmt.Fprintf(&many, "      - { issuer: \"https://%d.example.com\", token_type: jwt, subject_prefix: \"%02d:\", keys: { discovery: true } }\n", i, i)
	}
	d.write("latchkey.yaml", strings.Replace(whole, "    clients:\n", many.String()+"    clients:\n", 1))
	servers := []*server{d.start(), d.start(), d.start(), d.start()}
	for _, s := range servers {
		s.untilReady()
	}
	for table, want := range map[string]int{"tenants": 1, "clients": 2, "trusted_issuers": 61, "signing_keys": 1} {
		if n := count(t, url, "SELECT count(*) FROM "+table); n != want {
			t.Errorf("%s has %d rows, want %d", table, n, want)
		}
	}
	made := 0
	for _, s := range servers {
		made += strings.Count(s.err.String(), `"msg":"configuration applied","tenant":"default","kind":"issuer"`)
	}
	if made != 61 {
		t.Errorf("%d issuers were applied, want 61", made)
	}
	if later := d.serve(); strings.Contains(later.err.String(), "configuration applied") {
		t.Errorf("another start changes something:\n%s", later.err.String())
	}
}
