package testwire

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

// publishedKids returns the kids of the key set, newest first.
func publishedKids(d *testserver.Deployment) (kids []string) {
	d.T.Helper()
	for _, k := range d.Want(200, "", d.Get("/.well-known/jwks.json")).JSON["keys"].([]any) {
		kids = append(kids, k.(map[string]any)["kid"].(string))
	}
	return kids
}

// runMaintenance does the background work of a node that is due every half minute.
func runMaintenance(d *testserver.Deployment) {
	d.T.Helper()
	if err := errors.Join(d.OAuth.EnsureSigningKeys(d.T.Context()), d.Store.ExpireSigningKeys(d.T.Context(), d.Clock.Now()), d.OAuth.Reseal(d.T.Context())); err != nil {
		d.T.Fatal(err)
	}
}

// retire takes a key out of service, and waits until every node notices.
func retire(d *testserver.Deployment, kid string) (signs string) {
	d.T.Helper()
	signs, err := d.OAuth.RetireSigningKey(d.T.Context(), "default", kid, models.ServerActor)
	if err != nil {
		d.T.Fatal(err)
	}
	d.Clock.Advance(6 * time.Second)
	return signs
}

func TestSigningKeysAreRotatedOnSchedule(t *testing.T) {
	const day = 24 * time.Hour
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		begun := d.Clock.Now()
		at := func(after time.Duration) {
			d.Clock.Advance(begun.Add(after).Sub(d.Clock.Now()))
			runMaintenance(d)
		}
		first := publishedKids(d)
		at(89*day - time.Minute)
		if got := publishedKids(d); !slices.Equal(got, first) {
			t.Fatalf("published %v before any is due", got)
		}
		at(89 * day)
		runMaintenance(d)
		d.Clock.Advance(6 * time.Second)
		both := publishedKids(d)
		if len(both) != 2 || both[1] != first[0] {
			t.Fatalf("published %v a day before the change, want one more than %v", both, first)
		}
		at(90*day - time.Minute)
		if kid := kidOf(d.SignIn("alice").Text("access_token")); kid != first[0] {
			t.Error("the new key signs before its day is over")
		}
		at(90 * day)
		if kid := kidOf(d.SignIn("alice").Text("access_token")); kid != both[0] {
			t.Errorf("%s signs, want the announced key", kid)
		}
		at(92 * day)
		if got := publishedKids(d); !slices.Equal(got, both[:1]) {
			t.Errorf("published %v after the last token of the old key", got)
		}
		ring := signingKeys(d)
		if len(ring) != 2 || len(ring[0].Sealed) != 0 || len(ring[1].Sealed) == 0 {
			t.Error("the private part of the old key is still kept")
		}
	})
}

func TestKeyRotationOfATenantCanBeTurnedOff(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	spec := testserver.Tenant("default", d.Issuer, testserver.Web())
	never, err := settings.ParseDuration("none")
	if err != nil {
		t.Fatal(err)
	}
	spec.KeyRotation = &never
	d.Apply(spec)
	d.Clock.Advance(1000 * 24 * time.Hour)
	runMaintenance(d)
	if n := len(signingKeys(d)); n != 1 {
		t.Errorf("%d keys", n)
	}
}

func TestRotationUnderLoadRejectsNothing(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		l := newLoad(d, d.Server, newNode(d, testserver.RootSecret))
		for range 2 {
			if _, err := d.OAuth.RotateSigningKey(t.Context(), "default", models.ServerActor); err != nil {
				t.Fatal(err)
			}
			l.pass(6*time.Second, 3*time.Second)
			l.pass(keys.Announcement-12*time.Second, 4*time.Minute)
			l.pass(12*time.Second, 4*time.Second)
			l.jump(24 * time.Hour)
			runMaintenance(d)
			l.pass(time.Minute, 30*time.Second)
		}
		l.end()
		if kids := publishedKids(d); len(kids) != 1 || len(signingKeys(d)) != 3 {
			t.Errorf("published %v of %d keys", kids, len(signingKeys(d)))
		}
	})
}

func TestTokensOfARetiredKeyAreRejected(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		node := newNode(d, testserver.RootSecret)
		a := d.SignIn("alice")
		access, kid := a.Text("access_token"), publishedKids(d)[0]
		if node.Introspect("", access).JSON["active"] != true {
			t.Fatal("the other node does not know the token")
		}
		signs := retire(d, kid)
		for _, s := range []*testserver.Server{d.Server, node} {
			if in := s.Introspect("", access); in.Status != 200 || string(in.Body) != `{"active":false}` {
				t.Errorf("introspection: %d %s", in.Status, in.Body)
			}
		}
		if got := publishedKids(d); !slices.Equal(got, []string{signs}) || signs == kid {
			t.Errorf("published %v, returned %s", got, signs)
		}
		next := d.Want(200, "", node.Refresh("", "web", a.Text("refresh_token")))
		if kidOf(next.Text("access_token")) != signs || !d.Active(next.Text("access_token")) {
			t.Error("the session did not continue with the new key")
		}
		for _, k := range signingKeys(d) {
			if (len(k.Sealed) == 0) != (k.Kid == kid) {
				t.Error("the private part of the retired key, and only that, is to be destroyed")
			}
		}
	})
}

func TestTheAnnouncedKeyReplacesTheRetiredOne(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	active := publishedKids(d)[0]
	announced, err := d.OAuth.RotateSigningKey(t.Context(), "default", models.ServerActor)
	if err != nil {
		t.Fatal(err)
	}
	if signs := retire(d, active); signs != announced.Kid {
		t.Errorf("%s signs, want the announced key", signs)
	}
	if kid := kidOf(d.SignIn("alice").Text("access_token")); kid != announced.Kid {
		t.Errorf("%s signs, want the announced key", kid)
	}
}

func TestRetiringAnotherKeyLeavesTheSigningOne(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	first := publishedKids(d)[0]
	a := d.SignIn("alice")
	second, err := d.OAuth.RotateSigningKey(t.Context(), "default", models.ServerActor)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("announced", func(t *testing.T) {
		if signs := retire(d, second.Kid); signs != first || !slices.Equal(publishedKids(d), []string{first}) {
			t.Errorf("%s signs, published %v", signs, publishedKids(d))
		}
	})
	third, err := d.OAuth.RotateSigningKey(t.Context(), "default", models.ServerActor)
	if err != nil {
		t.Fatal(err)
	}
	d.Clock.Advance(keys.Announcement)
	t.Run("verify-only", func(t *testing.T) {
		if signs := retire(d, first); signs != third.Kid || !slices.Equal(publishedKids(d), []string{third.Kid}) {
			t.Errorf("%s signs, published %v", signs, publishedKids(d))
		}
		if d.Active(a.Text("access_token")) {
			t.Error("a token of the retired key is active")
		}
	})
	for _, kid := range []string{first, second.Kid, "made-up"} {
		if _, err := d.OAuth.RetireSigningKey(t.Context(), "default", kid, models.ServerActor); !errors.Is(err, oauth.ErrUnknownKey) {
			t.Errorf("%s: %v", kid, err)
		}
	}
	if len(signingKeys(d)) != 3 {
		t.Errorf("%d keys; what was refused made one", len(signingKeys(d)))
	}
}

// A node that has not seen a new key yet must not treat a token of that key as inactive
// or revoked.
func TestANodeReadsAMissedKeyBeforeItResponds(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		node := newNode(d, testserver.RootSecret)
		d.SignIn("alice")
		for _, s := range []*testserver.Server{d.Server, node} {
			s.Introspect("", "made-up")
			if err := s.OAuth.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.OAuth.RetireSigningKey(t.Context(), "default", publishedKids(d)[0], models.ServerActor); err != nil {
			t.Fatal(err)
		}
		if err := d.OAuth.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		answers := testserver.InParallel(8, func(int) *testserver.Answer {
			return d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil))
		})
		for _, in := range testserver.InParallel(8, func(i int) *testserver.Answer { return node.Introspect("", answers[i].Text("access_token")) }) {
			if in.JSON["active"] != true {
				t.Errorf("introspection: %d %s", in.Status, in.Body)
			}
		}
		third := newNode(d, testserver.RootSecret)
		d.Want(200, "", third.Post("/revoke", []string{"client_id", "web", "token", answers[0].Text("access_token")}))
		d.Want(400, "invalid_grant", d.Refresh("", "web", answers[0].Text("refresh_token")))
	})
}

func TestAnUnreadableKeyIsAServerError(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		db := testserver.OpenDatabase(t, d.DatabaseURL)
		for _, statement := range []string{"UPDATE signing_keys SET root_version = 7", "UPDATE tenants SET revision = revision + 1"} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		d.Clock.Advance(6 * time.Second)
		for name, got := range map[string]*testserver.Answer{
			"the key set":   d.Get("/.well-known/jwks.json"),
			"introspection": d.Introspect("", a.Text("access_token")),
			"revocation":    d.Post("/revoke", []string{"client_id", "web", "token", a.Text("access_token")}),
			"refresh":       d.Refresh("", "web", a.Text("refresh_token")),
			"readiness":     newNode(d, testserver.RootSecret).Get("/readyz"), // before the first request for a tenant
		} {
			if got.Status < 500 {
				t.Errorf("%s: %d %s", name, got.Status, got.Body)
			}
		}
	})
}
