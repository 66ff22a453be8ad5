package handlers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// prune applies tenants and removes everything else; nodes notice within 5 s.
func (w *world) prune(tenants ...models.TenantSpec) []models.Change {
	w.t.Helper()
	for i := range tenants {
		tenants[i].SigningAlgorithm = "ES256"
	}
	w.Clock.Advance(time.Second)
	changes, err := w.Store.Apply(w.t.Context(), tenants, w.Keys, models.ApplyOptions{Prune: true})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Clock.Advance(5 * time.Second)
	return changes
}

// sweep ends the rows of what was removed, some minutes later.
func (w *world) sweep() {
	w.t.Helper()
	w.Clock.Advance(5 * time.Minute)
	w.sweepNow()
}

func (w *world) sweepNow() {
	w.t.Helper()
	if err := w.Store.Sweep(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// count counts rows.
func (w *world) count(what string) (n int) {
	w.t.Helper()
	if err := openDatabase(w.t, w.DatabaseURL).QueryRow("SELECT count(*) FROM " + what).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestSessionsOfARemovedClientAreOver(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		node := w.newNode(testserver.RootSecret)
		a := w.signIn("alice")
		spent := w.issuer.Token(w.URL, "alice", nil)
		w.want(200, "", w.Exchange("", "web", spent))
		without := testserver.Tenant("default", w.issuer, testserver.Backend())
		if changes := w.prune(without); len(changes) != 1 || !changes[0].Removed || changes[0].ID != "web" {
			t.Fatalf("%+v", changes)
		}
		refused := func() {
			t.Helper()
			for _, s := range []*testserver.Server{w.Server, node} {
				if in := s.Introspect("", a.Text("access_token")); string(in.Body) != `{"active":false}` {
					t.Errorf("introspection: %d %s", in.Status, in.Body)
				}
				if r := s.Refresh("", "web", a.Text("refresh_token")); r.Status == 200 {
					t.Errorf("refresh: %s", r.Body)
				}
			}
		}
		refused()
		w.want(401, "invalid_client", w.Refresh("", "web", a.Text("refresh_token")))

		// made again with the same id, before and after its sessions were swept
		for _, swept := range []bool{false, true} {
			if swept {
				w.prune(without)
				w.sweep()
				if n := w.count("clients"); n != 1 {
					t.Errorf("%d clients are kept", n)
				}
			}
			w.Clock.Advance(time.Second)
			w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend()))
			w.Clock.Advance(5 * time.Second)
			refused()
			w.want(400, "invalid_grant", w.Refresh("", "web", a.Text("refresh_token")))
			w.want(400, "invalid_request", w.Exchange("", "web", spent))
			if fresh := w.signIn("alice"); !w.active(fresh.Text("access_token")) {
				t.Error("a new session of the new client is not active")
			}
		}
		w.sweep()
		if row := w.session("default", a.Text("session_id")); row.EndedAt.IsZero() {
			t.Error("its sessions were not swept")
		}
	})
}

// An exchange that ran beside a long removal leaves a session that is younger
// than the mark.
func TestASessionMadeBesideARemovalIsSweptToo(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signIn("alice")
		w.prune(testserver.Tenant("default", w.issuer, testserver.Backend()))
		if _, err := openDatabase(t, w.DatabaseURL).Exec("UPDATE sessions SET created_at = created_at + 3000000"); err != nil {
			t.Fatal(err)
		}
		w.sweep()
		if row := w.session("default", a.Text("session_id")); row.EndedAt.IsZero() {
			t.Error("it was not swept")
		}
	})
}

func TestTheSecretOfARemovedClientDoesNotComeBack(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.prune(testserver.Tenant("default", w.issuer, testserver.Web()))
		if n := w.count("clients WHERE length(secret_digest) > 0"); n != 0 {
			t.Errorf("%d digests are kept", n)
		}
		back := testserver.Backend()
		back.Secret = strings.Repeat("another", 10)
		w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), back))
		machine := []string{"grant_type", "client_credentials"}
		w.want(401, "invalid_client", w.Post("/token", machine, testserver.Basic("backend", testserver.ClientSecret)))
		w.want(200, "", w.Post("/token", machine, testserver.Basic("backend", back.Secret)))
	})
}

func TestSessionsOfARemovedIssuerAreOver(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		other := testserver.NewIssuer(t, w.Clock)
		spec := testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend())
		both := spec
		both.TrustedIssuers = append(both.TrustedIssuers[:1:1], other.Entry())
		both.TrustedIssuers[1].SubjectPrefix = "other:"
		w.Apply(both)
		mine := w.signIn("alice")
		theirs := w.want(200, "", w.Exchange("", "web", other.Token(w.URL, "other:bob", nil)))
		if changes := w.prune(spec); len(changes) != 1 || !changes[0].Removed || changes[0].ID != other.URL {
			t.Fatalf("%+v", changes)
		}
		refused := func() {
			t.Helper()
			w.want(400, "invalid_grant", w.Refresh("", "web", theirs.Text("refresh_token")))
			if w.active(theirs.Text("access_token")) {
				t.Error("a session of the removed issuer is active")
			}
		}
		refused()
		w.want(400, "invalid_request", w.Exchange("", "web", other.Token(w.URL, "other:bob", nil)))
		w.sweep()
		if n := w.count("trusted_issuers"); n != 1 {
			t.Errorf("%d issuers are kept", n)
		}
		w.Apply(both)
		refused()
		w.want(200, "", w.Exchange("", "web", other.Token(w.URL, "other:bob", nil)))
		w.want(200, "", w.Refresh("", "web", mine.Text("refresh_token")))
	})
}

func TestARemovedTenantIsGoneForGood(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		other := testserver.NewIssuer(t, w.Clock)
		acme := testserver.Tenant("acme", other, testserver.Web(), testserver.Backend())
		w.Apply(acme)
		a := w.want(200, "", w.Exchange("/t/acme", "web", other.Token(w.URL+"/t/acme", "carol", nil)))
		mine := w.signIn("alice")
		if changes := w.prune(testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend())); len(changes) != 1 || !changes[0].Removed {
			t.Fatalf("%+v", changes)
		}
		w.want(404, "not_found", w.Refresh("/t/acme", "web", a.Text("refresh_token")))
		w.want(404, "not_found", w.Introspect("/t/acme", a.Text("access_token")))
		for _, path := range []string{"/t/acme/.well-known/jwks.json", "/t/acme/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/t/acme"} {
			w.want(404, "not_found", w.Get(path))
		}
		if n := w.count("signing_keys WHERE tenant_id = 'acme'"); n != 0 {
			t.Error("its keys are kept")
		}
		_, err := w.Store.Apply(t.Context(), []models.TenantSpec{acme}, w.Keys, models.ApplyOptions{})
		if err == nil || !strings.Contains(err.Error(), "never used again") {
			t.Errorf("its id is accepted again: %v", err)
		}
		w.sweep()
		if n := w.count("users WHERE tenant_id = 'acme'"); n != 0 {
			t.Errorf("%d of its users are kept", n)
		}
		if row := w.session("acme", a.Text("session_id")); row.EndedAt.IsZero() {
			t.Error("its sessions were not swept")
		}
		if w.Refresh("", "web", mine.Text("refresh_token")).Status != 200 || w.count("users") != 1 {
			t.Error("another tenant was touched")
		}
	})
}

func TestPruneUnderLoadTouchesNothingElse(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		l := newLoad(w, w.Server, w.newNode(testserver.RootSecret))
		other := testserver.NewIssuer(t, w.Clock)
		wanted := testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend())
		for _, id := range []string{"one", "two"} {
			more := wanted
			extra := testserver.Web()
			extra.ID = "extra"
			more.Clients = append(more.Clients[:2:2], extra)
			more.TrustedIssuers = append(more.TrustedIssuers[:1:1], other.Entry())
			more.TrustedIssuers[1].SubjectPrefix = "other:"
			w.Apply(more, testserver.Tenant(id, other, testserver.Web()))
			l.pass(6*time.Second, 3*time.Second)
			if changes := w.prune(wanted); len(changes) != 3 {
				t.Fatalf("%+v", changes)
			}
			l.pass(6*time.Second, 3*time.Second)
			l.jump(5 * time.Minute)
			w.sweepNow()
			l.settle()
		}
		for _, what := range []string{"tenant", "client", "issuer"} {
			if n := w.count("events WHERE type = '" + what + "_removed'"); n != 2 {
				t.Errorf("%d events tell of a removed %s, want 2", n, what)
			}
		}
	})
}
