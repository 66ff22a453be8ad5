package testwire

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

const withOneFactor, withTwoFactors = "urn:latchkey:acr:1", "urn:latchkey:acr:2"

// signInWithBothTokens signs in at the client backend, which gets both kinds of tokens.
func signInWithBothTokens(d *testserver.Deployment, sub string) *testserver.Answer {
	return d.Want(200, "", d.Post("/token", []string{
		"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "subject_token", d.Proof(sub, "pwd"),
	}, testserver.AsBackend()))
}

func refreshAtOwnClient(d *testserver.Deployment, token string) *testserver.Answer {
	return d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", token}, testserver.AsBackend())
}

func wantRejected(t *testing.T, a *testserver.Answer, reason oauth.Reason) {
	t.Helper()
	if a.Status != 400 || a.Text("latchkey_reason") != string(reason) {
		t.Errorf("status %d %s, want reason %s", a.Status, a.Body, reason)
	}
}

func wantACR(t *testing.T, a *testserver.Answer, acr string) {
	t.Helper()
	if got := testserver.Claims(t, a)["acr"]; got != acr {
		t.Errorf("acr is %v, want %s", got, acr)
	}
}

func TestAStepUpReplacesBothTokens(t *testing.T) {
	for _, by := range []string{"refresh_token", "session_token", "access_token"} {
		t.Run("named by the "+by, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				a := signInWithBothTokens(d, "alice")
				b := d.Want(200, "", stepUpAtBackend(d, a.Text(by), d.Proof("alice", "otp")))
				wantACR(t, b, withTwoFactors)
				for _, kind := range []string{"refresh_token", "session_token"} {
					if b.Text(kind) == "" || b.Text(kind) == a.Text(kind) {
						t.Errorf("the %s was not replaced", kind)
					}
				}
				wantRejected(t, d.ExchangeSession(a.Text("session_token")), oauth.ReasonSessionTokenSuperseded)
				if by != "refresh_token" {
					wantRejected(t, refreshAtOwnClient(d, a.Text("refresh_token")), oauth.ReasonRefreshSuperseded)
				}
				d.Want(200, "", d.ExchangeSession(b.Text("session_token")))
				c := d.Want(200, "", refreshAtOwnClient(d, b.Text("refresh_token")))
				wantACR(t, c, withTwoFactors)
				d.Clock.Advance(time.Hour)
				if by != "refresh_token" { // the other token ends nothing, however late it is presented
					wantRejected(t, refreshAtOwnClient(d, a.Text("refresh_token")), oauth.ReasonRefreshSuperseded)
					wantRejected(t, stepUpAtBackend(d, a.Text("refresh_token"), d.Proof("alice", "otp")), oauth.ReasonRefreshSuperseded)
				}
				wantRejected(t, stepUpAtBackend(d, a.Text("session_token"), d.Proof("alice", "otp")), oauth.ReasonSessionTokenSuperseded)
				d.Want(200, "", refreshAtOwnClient(d, c.Text("refresh_token")))
			})
		})
	}
}

// A back end repeatedly steps up with the session token while the app holds a refresh
// token. No refresh token that was replaced in this way ends the session.
func TestStepUpsRememberEarlierReplacedTokens(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := signInWithBothTokens(d, "alice")
		var replaced []string
		for range 4 {
			replaced = append(replaced, a.Text("refresh_token"))
			up := d.Want(200, "", stepUpAtBackend(d, a.Text("session_token"), d.Proof("alice", "otp")))
			a = d.Want(200, "", refreshAtOwnClient(d, up.Text("refresh_token")))
			a.JSON["session_token"] = up.JSON["session_token"]
			d.Clock.Advance(time.Hour)
		}
		for _, token := range replaced {
			wantRejected(t, refreshAtOwnClient(d, token), oauth.ReasonRefreshSuperseded)
		}
		next := d.Want(200, "", refreshAtOwnClient(d, a.Text("refresh_token")))
		d.Want(200, "", refreshAtOwnClient(d, next.Text("refresh_token")))
		d.Clock.Advance(time.Hour)
		wantRejected(t, refreshAtOwnClient(d, a.Text("refresh_token")), oauth.ReasonRefreshReused) // used, not replaced
	})
}

// A thief holds a copy of the refresh token that the victim steps up with.
func TestACopyOfTheUsedRefreshTokenGetsNoStepUp(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInBy("alice", "pwd")
		b := d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "otp")))
		before := d.Written()
		copied := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		wantACR(t, copied, withOneFactor)
		if copied.JSON["refresh_token"] != nil || copied.JSON["latchkey_generation"] != a.JSON["latchkey_generation"] {
			t.Errorf("the copy got %s", copied.Body)
		}
		if got, was := testserver.Claims(t, copied)["auth_time"], testserver.Claims(t, a)["auth_time"]; got != was {
			t.Errorf("auth_time %v, before the step-up %v", got, was)
		}
		d.WantUnchanged(t, before)
		c := d.Want(200, "", d.Refresh("", "web", b.Text("refresh_token")))
		d.Clock.Advance(time.Minute)
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", a.Text("refresh_token")))
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", c.Text("refresh_token"))) // it was reuse
	})
}

func TestNoLateRetryCrossesAStepUp(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInBy("alice", "pwd")
		b := d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "otp")))
		d.Clock.Advance(10 * time.Second)
		wantRejected(t, d.Refresh("", "web", a.Text("refresh_token")), oauth.ReasonRefreshReused)
		wantRejected(t, d.Refresh("", "web", b.Text("refresh_token")), oauth.ReasonSessionEnded)
	})
}

// A thief has used the victim's refresh token moments before the step-up.
func TestAnIssuedSuccessorGetsNoStepUp(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInBy("alice", "pwd")
		stolen := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		proof := d.Proof("alice", "otp")
		b := d.Want(200, "", d.StepUp(a.Text("refresh_token"), proof))
		if b.Text("refresh_token") == stolen.Text("refresh_token") || b.JSON["latchkey_generation"] != float64(2) {
			t.Errorf("the step-up answers with the token that is out already: %s", b.Body)
		}
		wantACR(t, d.Want(200, "", d.Refresh("", "web", stolen.Text("refresh_token"))), withOneFactor)
		again := d.Want(200, "", d.StepUp(a.Text("refresh_token"), proof))
		if again.Text("refresh_token") != b.Text("refresh_token") {
			t.Errorf("the same step-up got another answer: %s", again.Body)
		}
		d.Clock.Advance(time.Minute)
		wantRejected(t, d.Refresh("", "web", stolen.Text("refresh_token")), oauth.ReasonRefreshReused)
	})
}

func TestALostStepUpIsRepeatedUntilItsTokensAreUsed(t *testing.T) {
	for _, by := range []string{"refresh_token", "session_token"} {
		for _, use := range []string{"refresh_token", "session_token"} {
			t.Run("named by the "+by+", the "+use+" is used", func(t *testing.T) {
				testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
					a := signInWithBothTokens(d, "alice")
					proof := d.Proof("alice", "otp")
					lost := d.Want(200, "", stepUpAtBackend(d, a.Text(by), proof))
					before := d.Written()
					for _, wait := range []time.Duration{0, time.Minute, 48 * time.Hour} {
						d.Clock.Advance(wait)
						again := d.Want(200, "", stepUpAtBackend(d, a.Text(by), proof))
						wantACR(t, again, withTwoFactors)
						for _, same := range []string{"refresh_token", "session_token", "session_id"} {
							if again.Text(same) != lost.Text(same) {
								t.Errorf("another %s after %v", same, wait)
							}
						}
						if again.JSON["latchkey_generation"] != lost.JSON["latchkey_generation"] {
							t.Errorf("another generation: %s", again.Body)
						}
					}
					d.WantUnchanged(t, before)
					if use == "refresh_token" {
						d.Want(200, "", refreshAtOwnClient(d, lost.Text(use)))
					} else {
						d.Want(200, "", d.ExchangeSession(lost.Text(use)))
					}
					if again := stepUpAtBackend(d, a.Text(by), proof); again.Status != 400 {
						t.Errorf("a handle was used, and still: %s", again.Body)
					}
				})
			})
		}
	}
}

// A repeated response must not claim more than the first one.
func TestALostStepUpIsNotRepeatedForAnUnmetDemand(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	a, proof := signInWithBothTokens(d, "alice"), d.Proof("alice", "otp")
	lost := d.Want(200, "", stepUpAtBackend(d, a.Text("refresh_token"), proof, "max_age", "60"))
	d.Want(400, "unmet_authentication_requirements", stepUpAtBackend(d, a.Text("refresh_token"), proof, "acr_values", "phrh"))
	d.Clock.Advance(time.Hour)
	again := d.Want(200, "", stepUpAtBackend(d, a.Text("refresh_token"), proof, "max_age", "60"))
	if again.Text("refresh_token") != lost.Text("refresh_token") {
		t.Error("the same request has another answer")
	}
}

func TestALostStepUpIsRepeatedForItsAccessToken(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a, proof := signInWithBothTokens(d, "alice"), d.Proof("alice", "otp")
		lost := d.Want(200, "", stepUpAtBackend(d, a.Text("access_token"), proof))
		again := d.Want(200, "", stepUpAtBackend(d, a.Text("access_token"), proof))
		if again.Text("refresh_token") != lost.Text("refresh_token") || again.Text("session_token") != lost.Text("session_token") {
			t.Errorf("another answer: %s", again.Body)
		}
	})
}

func TestOnlyTheSameRequestRepeatsALostStepUp(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a, other := signInWithBothTokens(d, "alice"), signInWithBothTokens(d, "alice")
		proof := d.Proof("alice", "otp")
		b := d.Want(200, "", stepUpAtBackend(d, a.Text("refresh_token"), proof))
		for name, session := range map[string]string{
			"the new refresh token": b.Text("refresh_token"), "the new session token": b.Text("session_token"),
			"the old session token": a.Text("session_token"), "the access token": a.Text("access_token"), "another session": other.Text("refresh_token"),
		} {
			if again := stepUpAtBackend(d, session, proof); again.Status != 400 {
				t.Errorf("shown with %s the spent client token yields %s", name, again.Body)
			}
		}
		d.Want(200, "", d.Post("/revoke", []string{"token", b.Text("access_token")}, testserver.AsBackend()))
		d.Want(400, "invalid_grant", stepUpAtBackend(d, a.Text("refresh_token"), d.Proof("alice", "otp")))
		if again := stepUpAtBackend(d, a.Text("refresh_token"), proof); again.Status != 400 {
			t.Errorf("after a sign-out: %s", again.Body)
		}
	})
}

func TestASecondProofWithinTheWindowGetsTheSameTokens(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a, proofs := signInWithBothTokens(d, "alice"), []string{d.Proof("alice", "otp"), d.Proof("alice", "hwk")}
		b := d.Want(200, "", stepUpAtBackend(d, a.Text("refresh_token"), proofs[0]))
		c := d.Want(200, "", stepUpAtBackend(d, a.Text("refresh_token"), proofs[1]))
		for _, kind := range []string{"refresh_token", "session_token"} {
			if b.Text(kind) != c.Text(kind) {
				t.Errorf("two step-ups make two chains: another %s", kind)
			}
		}
		if amr := fmt.Sprint(testserver.Claims(t, c)["amr"]); amr != "[pwd otp hwk]" {
			t.Errorf("amr %s", amr)
		}
		d.Clock.Advance(time.Minute)
		for _, proof := range proofs {
			if again := d.Want(200, "", stepUpAtBackend(d, a.Text("refresh_token"), proof)); again.Text("refresh_token") != c.Text("refresh_token") {
				t.Errorf("a lost answer got another one: %s", again.Body)
			}
		}
		wantRejected(t, stepUpAtBackend(d, a.Text("refresh_token"), d.Proof("alice", "pin")), oauth.ReasonRefreshReused)
	})
}

func TestAStepUpWithALateRefreshTokenCountsAsALateRetry(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInBy("alice", "pwd")
		lost := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		d.Clock.Advance(time.Hour)
		b := d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "otp")))
		wantACR(t, b, withTwoFactors)
		if b.Text("refresh_token") == lost.Text("refresh_token") || b.JSON["latchkey_generation"] != float64(2) {
			t.Errorf("the chain did not move past the lost answer: %s", b.Body)
		}
		if types := d.EventTypes(a.Text("session_id")); !slices.Contains(types, models.EventRefreshRetriedLate) {
			t.Errorf("events %v", types)
		}
		c := d.Want(200, "", d.Refresh("", "web", b.Text("refresh_token")))
		d.Clock.Advance(time.Hour)
		wantRejected(t, d.Refresh("", "web", b.Text("refresh_token")), oauth.ReasonRefreshReused) // a second loss too soon
		wantRejected(t, d.Refresh("", "web", c.Text("refresh_token")), oauth.ReasonSessionEnded)
	})
}
