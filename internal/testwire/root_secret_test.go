package testwire

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

// A root secret is replaced in two roll-outs: every node accepts the new one, then the
// new one issues. Then the old one is removed.
func TestRootSecretRotationUnderLoadRejectsNothing(t *testing.T) {
	const old, fresh = testserver.RootSecret, testserver.NextRoot
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		nodes := []*testserver.Server{newNode(d, old), newNode(d, old)}
		l := newLoad(d, nodes...)
		a := d.SignInAtBackend("bob")
		sessionToken := a.Text("session_token")

		for _, roots := range [][]string{{old, fresh}, {fresh, old}, {fresh}} {
			for i := range nodes {
				if len(roots) == 1 {
					wantUnusedRoots(t, nodes[0].OAuth)
				}
				replaced := append([]*testserver.Server{}, *l.nodes.Load()...)
				replaced[i] = newNode(d, roots...)
				l.nodes.Store(&replaced)
				l.settle()
				l.pass(6*time.Second, 3*time.Second)
				in := replaced[i].Post("/introspect", []string{"token", sessionToken}, testserver.Basic("backend", testserver.ClientSecret))
				if in.JSON["active"] != true {
					t.Fatalf("the session token under %d roots: %d %s", len(roots), in.Status, in.Body)
				}
				// bob's refresh token is used too, otherwise it still depends on the old root
				a = d.Want(200, "", replaced[i].Post("/token", []string{"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")}, testserver.Basic("backend", testserver.ClientSecret)))
			}
			nodes = *l.nodes.Load()
		}
		l.end()
		last := nodes[0]
		d.Want(200, "", last.Post("/revoke", []string{"token", sessionToken}, testserver.Basic("backend", testserver.ClientSecret)))
		if in := last.Introspect("", a.Text("access_token")); string(in.Body) != `{"active":false}` {
			t.Errorf("a session token of the old root did not sign out: %s", in.Body)
		}
	})
}

// wantUnusedRoots fails if a root secret that does not issue is still in use.
func wantUnusedRoots(t *testing.T, server *oauth.Server) {
	t.Helper()
	status, err := server.SecretStatus(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range status {
		if !r.Issues && r.Needed() {
			t.Fatalf("still needed: %+v", r)
		}
	}
}

// Nobody can check the tag of a token with an unknown root. It must not pass for a used
// token of the session's chain.
func TestASessionTokenOfAnUnknownRootEndsNothing(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		back := testserver.Basic("backend", testserver.ClientSecret)
		a := d.SignInAtBackend("bob")
		if _, err := testserver.OpenDatabase(t, d.DatabaseURL).Exec("UPDATE sessions SET session_token_generation = 5"); err != nil {
			t.Fatal(err)
		}
		genuine, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(a.Text("session_token"), "lk_st_"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range genuine {
			if i < 4 || i >= 24 { // all bytes except the session id and the generation
				genuine[i] ^= 0xff
			}
		}
		forged := "lk_st_" + base64.RawURLEncoding.EncodeToString(genuine)
		d.Want(200, "", d.Post("/revoke", []string{"token", forged}, back))
		if in := d.Introspect("", forged); string(in.Body) != `{"active":false}` {
			t.Errorf("introspection: %s", in.Body)
		}
		if !d.Active(a.Text("access_token")) {
			t.Error("a forged token ended the session")
		}
	})
}

func TestANodeWithoutTheIssuingRootIsNotReady(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Want(200, "", d.Get("/readyz"))
		d.Clock.Advance(time.Second)
		newNode(d, testserver.NextRoot, testserver.RootSecret)
		if a := d.Get("/readyz"); a.Status != 503 {
			t.Errorf("readiness: %d %s", a.Status, a.Body)
		}
	})
}

func TestASecretThatCannotBeComparedIsAServerError(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		if _, err := testserver.OpenDatabase(t, d.DatabaseURL).Exec("UPDATE clients SET secret_root_version = 7 WHERE id = 'backend'"); err != nil {
			t.Fatal(err)
		}
		node := newNode(d, testserver.RootSecret)
		d.Want(500, "server_error", node.Post("/token", []string{"grant_type", "client_credentials"}, testserver.AsBackend()))
	})
}

func TestAForgedSessionTokenRevealsNothing(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		id, err := models.ParseSessionID(a.Text("session_id"))
		if err != nil {
			t.Fatal(err)
		}
		for name, sid := range map[string]models.SessionID{"there": id, "nowhere": models.NewSessionID()} {
			raw := append([]byte("root"), sid[:]...)
			forged := "lk_st_" + base64.RawURLEncoding.EncodeToString(append(raw, make([]byte, 52)...))
			if b := d.Post("/revoke", []string{"token", forged}, testserver.AsBackend()); b.Status != 200 || len(b.Body) != 0 {
				t.Errorf("%s: %d %s", name, b.Status, b.Body)
			}
		}
	})
}
