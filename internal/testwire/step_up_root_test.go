package testwire

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/oauth"
)

// withRoots returns the deployment after a restart with other root secrets, of which
// the first one issues.
func withRoots(d *testserver.Deployment, roots ...string) *testserver.Deployment {
	d.T.Helper()
	d.Clock.Advance(time.Second) // the roots are ordered by the time of their first start
	return d.OtherNodeWith(testserver.Options{Roots: roots})
}

// handleKinds are the members with which an app names the session that it steps up.
var handleKinds = []string{"refresh_token", "session_token", "access_token"}

func wantSameHandles(t *testing.T, first, again *testserver.Answer) {
	t.Helper()
	wantACR(t, again, withTwoFactors)
	for _, kind := range []string{"session_id", "refresh_token", "session_token"} {
		if first.Text(kind) == "" || again.Text(kind) != first.Text(kind) {
			t.Errorf("the repeated response has another %s", kind)
		}
	}
}

func TestASteppedUpSessionOutlivesItsRoot(t *testing.T) {
	const old, fresh = testserver.RootSecret, testserver.NextRoot
	for _, by := range handleKinds {
		t.Run("named by the "+by, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				a := signInWithBothTokens(d, "alice")
				b := d.Want(200, "", stepUpAtBackend(d, a.Text(by), d.Proof("alice", "otp")))
				both := withRoots(d, fresh, old)
				wantACR(t, d.Want(200, "", both.ExchangeSession(b.Text("session_token"))), withTwoFactors)
				c := d.Want(200, "", refreshAtOwnClient(both, b.Text("refresh_token")))
				c = d.Want(200, "", refreshAtOwnClient(both, c.Text("refresh_token")))
				wantUnusedRoots(t, both.OAuth)

				alone := withRoots(d, fresh)
				alone.Clock.Advance(time.Hour)
				wantRejected(t, refreshAtOwnClient(alone, a.Text("refresh_token")), oauth.ReasonRefreshUnknown)
				wantRejected(t, refreshAtOwnClient(alone, b.Text("refresh_token")), oauth.ReasonRefreshUnknown)
				wantRejected(t, alone.ExchangeSession(a.Text("session_token")), oauth.ReasonSessionTokenSuperseded)
				wantRejected(t, stepUpAtBackend(alone, a.Text("session_token"), d.Proof("alice", "otp")), oauth.ReasonSessionTokenSuperseded)
				wantRejected(t, stepUpAtBackend(alone, b.Text("refresh_token"), d.Proof("alice", "otp")), oauth.ReasonSessionTokenUnknown)

				wantACR(t, d.Want(200, "", alone.ExchangeSession(b.Text("session_token"))), withTwoFactors)
				c = d.Want(200, "", refreshAtOwnClient(alone, c.Text("refresh_token")))
				wantACR(t, c, withTwoFactors)
				up := d.Want(200, "", stepUpAtBackend(alone, b.Text("session_token"), d.Proof("alice", "hwk")))
				d.Want(200, "", alone.ExchangeSession(up.Text("session_token")))
				d.Want(200, "", refreshAtOwnClient(alone, up.Text("refresh_token")))
			})
		})
	}
}

// The response is lost, and the app repeats the step-up while the root secret changes.
func TestALostStepUpIsRepeatedWhileItsRootIsAccepted(t *testing.T) {
	const old, fresh = testserver.RootSecret, testserver.NextRoot
	for _, by := range handleKinds {
		t.Run("named by the "+by, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				a, proof := signInWithBothTokens(d, "alice"), d.Proof("alice", "otp")
				lost := d.Want(200, "", stepUpAtBackend(d, a.Text(by), proof))
				for _, roots := range [][]string{{old, fresh}, {fresh, old}} {
					wantSameHandles(t, lost, d.Want(200, "", stepUpAtBackend(withRoots(d, roots...), a.Text(by), proof)))
				}
				alone := withRoots(d, fresh)
				for _, presented := range []string{proof, d.Proof("alice", "otp")} {
					if by == "access_token" && presented != proof {
						continue
					}
					if again := stepUpAtBackend(alone, a.Text(by), presented); again.Status != 400 {
						t.Errorf("without the root: %d %s", again.Status, again.Body)
					}
				}
				if !alone.Active(lost.Text("access_token")) {
					t.Error("the session has ended")
				}
				// An access token names the session without any root, so it yields new handles.
				up := d.Want(200, "", stepUpAtBackend(alone, lost.Text("access_token"), d.Proof("alice", "hwk")))
				d.Want(200, "", alone.ExchangeSession(up.Text("session_token")))
				d.Want(200, "", refreshAtOwnClient(alone, up.Text("refresh_token")))
			})
		})
	}
}

// "secret status" does not count the old root of a session token that has been used
// since the change, so a step-up with this token must not depend on it.
func TestALostStepUpIsRepeatedAfterTheRootOfItsSessionTokenIsRemoved(t *testing.T) {
	const old, fresh = testserver.RootSecret, testserver.NextRoot
	for name, roots := range map[string][]string{"made while the root is accepted": {fresh, old}, "made after its removal": {fresh}} {
		for _, by := range []string{"session_token", "access_token"} {
			t.Run(name+", named by the "+by, func(t *testing.T) {
				testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
					a, proof := signInWithBothTokens(d, "alice"), d.Proof("alice", "otp")
					both := withRoots(d, fresh, old)
					d.Want(200, "", both.ExchangeSession(a.Text("session_token")))
					node := withRoots(d, roots...)
					lost := d.Want(200, "", stepUpAtBackend(node, a.Text(by), proof))
					wantSameHandles(t, lost, d.Want(200, "", stepUpAtBackend(both, a.Text(by), proof)))
					wantUnusedRoots(t, both.OAuth)

					alone := withRoots(d, fresh)
					wantSameHandles(t, lost, d.Want(200, "", stepUpAtBackend(alone, a.Text(by), proof)))
					d.Want(200, "", alone.ExchangeSession(lost.Text("session_token")))
					d.Want(200, "", refreshAtOwnClient(alone, lost.Text("refresh_token")))
					if again := stepUpAtBackend(alone, a.Text(by), proof); again.Status != 400 {
						t.Errorf("a handle was used, and still: %s", again.Body)
					}
				})
			})
		}
	}
}

func TestALostStepUpWithARefreshTokenNeedsItsRoot(t *testing.T) {
	const old, fresh = testserver.RootSecret, testserver.NextRoot
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a, proof := signInWithBothTokens(d, "alice"), d.Proof("alice", "otp")
		both := withRoots(d, fresh, old)
		lost := d.Want(200, "", stepUpAtBackend(both, a.Text("refresh_token"), proof))
		status, err := both.OAuth.SecretStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range status {
			if !r.Issues && r.UsedTokens != 1 {
				t.Errorf("the old root is needed for %d used tokens, want 1", r.UsedTokens)
			}
		}
		wantSameHandles(t, lost, d.Want(200, "", stepUpAtBackend(both, a.Text("refresh_token"), proof)))
		alone := withRoots(d, fresh)
		wantRejected(t, stepUpAtBackend(alone, a.Text("refresh_token"), proof), oauth.ReasonSessionTokenUnknown)
		d.Want(200, "", refreshAtOwnClient(alone, lost.Text("refresh_token")))
		wantACR(t, d.Want(200, "", alone.ExchangeSession(lost.Text("session_token"))), withTwoFactors)
	})
}
