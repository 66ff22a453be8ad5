package testwire

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// count counts rows.
func count(d *testserver.Deployment, what string) (n int) {
	d.T.Helper()
	if err := testserver.OpenDatabase(d.T, d.DatabaseURL).QueryRow("SELECT count(*) FROM " + what).Scan(&n); err != nil {
		d.T.Fatal(err)
	}
	return n
}

func TestRemovingAClientEndsItsSessions(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		node := newNode(d, testserver.RootSecret)
		a := d.SignIn("alice")
		spent := d.Issuer.Token(d.URL, "alice", nil)
		d.Want(200, "", d.Exchange("", "web", spent))
		without := testserver.Tenant("default", d.Issuer, testserver.Backend())
		if changes := d.Prune(without); len(changes) != 1 || !changes[0].Removed || changes[0].ID != "web" {
			t.Fatalf("%+v", changes)
		}
		refused := func() {
			t.Helper()
			for _, s := range []*testserver.Server{d.Server, node} {
				if in := s.Introspect("", a.Text("access_token")); string(in.Body) != `{"active":false}` {
					t.Errorf("introspection: %d %s", in.Status, in.Body)
				}
				if r := s.Refresh("", "web", a.Text("refresh_token")); r.Status == 200 {
					t.Errorf("refresh: %s", r.Body)
				}
			}
		}
		refused()
		d.Want(401, "invalid_client", d.Refresh("", "web", a.Text("refresh_token")))

		// created again with the same id, before and after its sessions were swept
		for _, swept := range []bool{false, true} {
			if swept {
				d.Prune(without)
				d.Sweep()
				if n := count(d, "clients"); n != 1 {
					t.Errorf("%d clients are kept", n)
				}
			}
			d.Clock.Advance(time.Second)
			d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend()))
			d.Clock.Advance(5 * time.Second)
			refused()
			d.Want(400, "invalid_grant", d.Refresh("", "web", a.Text("refresh_token")))
			d.Want(400, "invalid_request", d.Exchange("", "web", spent))
			if fresh := d.SignIn("alice"); !d.Active(fresh.Text("access_token")) {
				t.Error("a new session of the new client is not active")
			}
		}
		d.Sweep()
		if row := d.SessionRow("default", a.Text("session_id")); row.EndedAt.IsZero() {
			t.Error("its sessions were not swept")
		}
	})
}

// An exchange during a long removal leaves a session that is newer than the mark.
func TestASessionOpenedDuringARemovalIsSwept(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		d.Prune(testserver.Tenant("default", d.Issuer, testserver.Backend()))
		if _, err := testserver.OpenDatabase(t, d.DatabaseURL).Exec("UPDATE sessions SET created_at = created_at + 3000000"); err != nil {
			t.Fatal(err)
		}
		d.Sweep()
		if row := d.SessionRow("default", a.Text("session_id")); row.EndedAt.IsZero() {
			t.Error("it was not swept")
		}
	})
}

func TestTheSecretOfARemovedClientStaysRemoved(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Prune(testserver.Tenant("default", d.Issuer, testserver.Web()))
		if n := count(d, "clients WHERE length(secret_digest) > 0"); n != 0 {
			t.Errorf("%d digests are kept", n)
		}
		back := testserver.Backend()
		back.Secret = strings.Repeat("another", 10)
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), back))
		machine := []string{"grant_type", "client_credentials"}
		d.Want(401, "invalid_client", d.Post("/token", machine, testserver.Basic("backend", testserver.ClientSecret)))
		d.Want(200, "", d.Post("/token", machine, testserver.Basic("backend", back.Secret)))
	})
}

func TestRemovingAnIssuerEndsItsSessions(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		other := testserver.NewIssuer(t, d.Clock)
		spec := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
		both := spec
		both.TrustedIssuers = append(both.TrustedIssuers[:1:1], other.Entry())
		both.TrustedIssuers[1].SubjectPrefix = "other:"
		d.Apply(both)
		mine := d.SignIn("alice")
		theirs := d.Want(200, "", d.Exchange("", "web", other.Token(d.URL, "other:bob", nil)))
		if changes := d.Prune(spec); len(changes) != 1 || !changes[0].Removed || changes[0].ID != other.Entry().EntryID() {
			t.Fatalf("%+v", changes)
		}
		refused := func() {
			t.Helper()
			d.Want(400, "invalid_grant", d.Refresh("", "web", theirs.Text("refresh_token")))
			if d.Active(theirs.Text("access_token")) {
				t.Error("a session of the removed issuer is active")
			}
		}
		refused()
		d.Want(400, "invalid_request", d.Exchange("", "web", other.Token(d.URL, "other:bob", nil)))
		d.Sweep()
		if n := count(d, "trusted_issuers"); n != 1 {
			t.Errorf("%d issuers are kept", n)
		}
		d.Apply(both)
		refused()
		d.Want(200, "", d.Exchange("", "web", other.Token(d.URL, "other:bob", nil)))
		d.Want(200, "", d.Refresh("", "web", mine.Text("refresh_token")))
	})
}

func TestARemovedTenantStaysRemoved(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		other := testserver.NewIssuer(t, d.Clock)
		acme := testserver.Tenant("acme", other, testserver.Web(), testserver.Backend())
		d.Apply(acme)
		a := d.Want(200, "", d.Exchange("/t/acme", "web", other.Token(d.URL+"/t/acme", "carol", nil)))
		mine := d.SignIn("alice")
		if changes := d.Prune(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())); len(changes) != 1 || !changes[0].Removed {
			t.Fatalf("%+v", changes)
		}
		d.Want(404, "not_found", d.Refresh("/t/acme", "web", a.Text("refresh_token")))
		d.Want(404, "not_found", d.Introspect("/t/acme", a.Text("access_token")))
		for _, path := range []string{"/t/acme/.well-known/jwks.json", "/t/acme/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/t/acme"} {
			d.Want(404, "not_found", d.Get(path))
		}
		if n := count(d, "signing_keys WHERE tenant_id = 'acme'"); n != 0 {
			t.Error("its keys are kept")
		}
		_, err := d.Store.Apply(t.Context(), []settings.TenantSpec{acme}, d.Keys, models.ApplyOptions{Replace: true})
		if err == nil || !strings.Contains(err.Error(), "never used again") {
			t.Errorf("its id is accepted again: %v", err)
		}
		d.Sweep()
		if n := count(d, "users WHERE tenant_id = 'acme'"); n != 0 {
			t.Errorf("%d of its users are kept", n)
		}
		if row := d.SessionRow("acme", a.Text("session_id")); row.EndedAt.IsZero() {
			t.Error("its sessions were not swept")
		}
		if d.Refresh("", "web", mine.Text("refresh_token")).Status != 200 || count(d, "users") != 1 {
			t.Error("another tenant was touched")
		}
	})
}

func TestPruneUnderLoadChangesNothingElse(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		l := newLoad(d, d.Server, newNode(d, testserver.RootSecret))
		other := testserver.NewIssuer(t, d.Clock)
		wanted := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
		for _, id := range []string{"one", "two"} {
			more := wanted
			extra := testserver.Web()
			extra.ID = "extra"
			more.Clients = append(more.Clients[:2:2], extra)
			more.TrustedIssuers = append(more.TrustedIssuers[:1:1], other.Entry())
			more.TrustedIssuers[1].SubjectPrefix = "other:"
			d.Apply(more, testserver.Tenant(id, other, testserver.Web()))
			l.pass(6*time.Second, 3*time.Second)
			if changes := d.Prune(wanted); len(changes) != 3 {
				t.Fatalf("%+v", changes)
			}
			l.pass(6*time.Second, 3*time.Second)
			l.jump(5 * time.Minute)
			d.SweepNow()
			l.settle()
		}
		for _, what := range []string{"tenant", "client", "issuer"} {
			if n := count(d, "events WHERE type = '"+what+"_removed'"); n != 2 {
				t.Errorf("%d events for a removed %s, want 2", n, what)
			}
		}
	})
}
