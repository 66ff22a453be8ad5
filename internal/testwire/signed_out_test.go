package testwire

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

const beforeRevocation = "subject_token_before_revocation"

// signOutEverywhere does what DELETE …/users/{sub}/sessions of the admin API does.
func signOutEverywhere(t *testing.T, d *testserver.Deployment, sub string) {
	t.Helper()
	if _, err := d.Store.SignOutUser(t.Context(), "default", sub, d.Store.Now(), session.RevokedByAdmin); err != nil {
		t.Fatal(err)
	}
}

// wantRefusal checks the status and the reason of a refusal.
func wantRefusal(t *testing.T, what string, status int, reason string, a *testserver.Answer) {
	t.Helper()
	if a.Status != status || a.Text("latchkey_reason") != reason {
		t.Errorf("%s: %d %s, want %d %s", what, a.Status, a.Body, status, reason)
	}
}

func TestAClientTokenFromBeforeAUserWasSignedOutEverywhereIsRefused(t *testing.T) {
	for name, signOut := range map[string]func(t *testing.T, d *testserver.Deployment){
		"management": func(t *testing.T, d *testserver.Deployment) { signOutEverywhere(t, d, "alice") },
		"management, with a limit": func(t *testing.T, d *testserver.Deployment) {
			if _, err := d.Store.EndFound(t.Context(), "default", "alice", "", 5, session.RevokedByAdmin); err != nil {
				t.Fatal(err)
			}
		},
		"a suspension": func(t *testing.T, d *testserver.Deployment) {
			operate(t, d, suspension(models.KindUser, "alice"), false)
			operate(t, d, suspension(models.KindUser, "alice"), true)
		},
		"disabled in a file": func(t *testing.T, d *testserver.Deployment) {
			tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
			for _, off := range []bool{true, false} {
				tenant.Users = []settings.UserSpec{{Sub: "alice", Disabled: off}}
				d.Apply(tenant)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				a := d.SignIn("alice")
				before := d.Issuer.Token(d.URL, "alice", nil)
				d.Clock.Advance(1500 * time.Millisecond)
				second := d.Clock.Now().Unix()
				sameSecond := d.Issuer.Token(d.URL, "alice", map[string]any{"iat": second})
				fraction := d.Issuer.Token(d.URL, "alice", map[string]any{"iat": float64(second) + 0.9})
				signOut(t, d)
				next := d.Issuer.Token(d.URL, "alice", map[string]any{"iat": second + 1})
				for what, token := range map[string]string{"before": before, "the same second": sameSecond, "the same second, with a fraction": fraction} {
					wantRefusal(t, what, 400, beforeRevocation, d.Exchange("", "web", token))
				}
				d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "bob", map[string]any{"iat": second - 1})))
				d.Want(200, "", d.Exchange("", "web", next))
				d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", a.Text("refresh_token")))
			})
		})
	}
}

func TestAStepUpWithAClientTokenFromBeforeIsRefused(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.SignInBy("alice", "pwd")
		d.Clock.Advance(time.Second)
		before := d.Proof("alice", "otp")
		signOutEverywhere(t, d, "alice")
		d.Clock.Advance(time.Second)
		a := d.SignInBy("alice", "pwd")
		wantRefusal(t, "step-up", 400, beforeRevocation, d.StepUp(a.Text("refresh_token"), before))
		d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "otp")))
	})
}

func TestAUserWhoSignsOutKeepsTheClientTokensOfOtherDevices(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		other := d.Issuer.Token(d.URL, "alice", nil)
		d.Want(204, "", d.Do("DELETE", "/sessions?scope=all", nil, testserver.AsBearer(a)))
		d.Want(200, "", d.Exchange("", "web", other))
	})
}

// Too many sessions: nothing ends, and client tokens are still accepted.
func TestARejectedSignOutRefusesNoClientTokens(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.SignIn("alice")
		d.SignIn("alice")
		if _, err := d.Store.EndFound(t.Context(), "default", "alice", "", 1, session.RevokedByAdmin); err == nil {
			t.Fatal("ended more sessions than agreed to")
		}
		d.SignIn("alice")
	})
}

// Whichever comes first, no session outlives the sign-out.
func TestNoSessionOutlivesASignOutDuringItsExchange(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		for range 20 {
			d.SignIn("alice")
			token := d.Issuer.Token(d.URL, "alice", nil)
			var refreshed string
			testserver.InParallel(2, func(i int) *testserver.Answer {
				if i == 0 {
					signOutEverywhere(t, d, "alice")
					return nil
				}
				a := d.Exchange("", "web", token)
				refreshed = a.Text("refresh_token")
				return a
			})
			if refreshed != "" {
				d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", refreshed))
			}
			n, err := d.Store.CountLive(t.Context(), "default", "alice", "")
			if err != nil {
				t.Fatal(err)
			}
			if n != 0 {
				t.Fatalf("%d sessions are live", n)
			}
			d.Clock.Advance(time.Second)
		}
	})
}
