package testwire

import (
	"context"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// suspension returns a reference to an object of the default tenant.
func suspension(kind, id string) models.Ref {
	return models.Ref{Kind: kind, Tenant: "default", ID: id}
}

// operate suspends or resumes, and waits until the node notices.
func operate(t *testing.T, d *testserver.Deployment, ref models.Ref, on bool) {
	t.Helper()
	by := models.Actor{Name: "cli", Role: models.RoleMachine}
	var err error
	if on {
		_, err = d.Store.Resume(context.Background(), d.Keys, ref, by)
	} else {
		_, err = d.Store.Suspend(context.Background(), d.Keys, ref, by, "leaked")
	}
	if err == nil {
		err = d.OAuth.Refresh(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestASuspensionSurvivesEveryApply(t *testing.T) {
	for kind, id := range map[string]string{
		models.KindTenant: "default", models.KindClient: "web", models.KindIssuer: "", models.KindUser: "alice",
	} {
		t.Run(kind, func(t *testing.T) {
			eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
				id := id // each engine has its own issuer
				if kind == models.KindIssuer {
					id = d.Issuer.URL
				}
				a := d.SignIn("alice")
				file := testserver.SessionTenant(d.Issuer)
				d.Clock.Advance(time.Second)
				operate(t, d, suspension(kind, id), false)
				d.Apply(file) // as a restarting node does with its file
				d.Prune(file)
				if r := d.Refresh("", "web", a.Text("refresh_token")); r.Status != 400 && r.Status != 401 {
					t.Errorf("a refresh: %d %s", r.Status, r.Body)
				}
				if r := d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil)); r.Status != 400 && r.Status != 401 {
					t.Errorf("an exchange: %d %s", r.Status, r.Body)
				}
				d.Want(401, "invalid_token", d.Get("/session", testserver.AsBearer(a)))
				d.Want(401, "invalid_token", d.Get("/userinfo", testserver.AsBearer(a)))
				if in := d.Introspect("", a.Text("access_token")); in.JSON["active"] == true {
					t.Errorf("introspected: %s", in.Body)
				}
				if kind != models.KindTenant {
					if sids, _ := listed(d, "/sessions?sub=alice", testserver.AsSupport()); len(sids) != 0 {
						t.Errorf("listed: %v", sids)
					}
				}
				operate(t, d, suspension(kind, id), true)
				d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", a.Text("refresh_token")))
				if d.Active(a.Text("access_token")) {
					t.Error("resuming revives an access token from before")
				}
				d.Clock.Advance(time.Second)
				d.SignIn("alice")
			})
		})
	}
}

func TestASuspendedClientGetsNoClientCredentialsTokens(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		ask := func() *testserver.Answer {
			return d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.AsBackend())
		}
		d.Want(200, "", ask())
		operate(t, d, suspension(models.KindClient, "backend"), false)
		d.Want(401, "invalid_client", ask())
		operate(t, d, suspension(models.KindClient, "backend"), true)
		d.Want(200, "", ask())
	})
}

// Another node sees the suspension in the database within its limit.
func TestASuspensionReachesOtherNodesWithinFiveSeconds(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		other := d.OtherNode()
		a := d.SignIn("alice")
		other.Want(200, "", other.Refresh("", "web", a.Text("refresh_token")))
		operate(t, d, suspension(models.KindClient, "web"), false)
		d.Clock.Advance(5 * time.Second)
		other.Want(401, "invalid_client", other.Refresh("", "web", a.Text("refresh_token")))
		other.Want(401, "invalid_client", other.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil)))
	})
}
