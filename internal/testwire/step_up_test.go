package testwire

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// stepUpAtBackend steps up a session at the secret client.
func stepUpAtBackend(d *testserver.Deployment, session, proof string, extra ...string) *testserver.Answer {
	return d.Post("/token", append([]string{
		"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "subject_token", proof, "latchkey_session_token", session,
	}, extra...), testserver.AsBackend())
}

func TestAStepUpRaisesTheLevelOfItsSession(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInBy("alice", "pwd")
		d.Clock.Advance(time.Minute)
		b := d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "otp")))
		before, raised := testserver.Claims(t, a), testserver.Claims(t, b)
		if b.Text("session_id") != a.Text("session_id") || raised["sid"] != before["sid"] {
			t.Errorf("another session: %s", b.Body)
		}
		if before["acr"] != "urn:latchkey:acr:1" || raised["acr"] != "urn:latchkey:acr:2" || fmt.Sprint(raised["amr"]) != "[pwd otp]" {
			t.Errorf("acr %v became %v, amr %v", before["acr"], raised["acr"], raised["amr"])
		}
		times, _ := raised["acr_times"].(map[string]any)
		signedIn := before["auth_time"].(float64)
		if raised["auth_time"] != signedIn || times["urn:latchkey:acr:2"] != signedIn || times["urn:latchkey:acr:1"] != signedIn+60 {
			t.Errorf("two factors were not proved together: auth_time %v, was %v; acr_times %v", raised["auth_time"], signedIn, times)
		}
		if in := d.Introspect("", a.Text("access_token")); in.Text("acr") != "urn:latchkey:acr:1" || in.JSON["active"] != true {
			t.Errorf("the older token: %s", in.Body)
		}
		c := d.Want(200, "", d.Refresh("", "web", b.Text("refresh_token")))
		if kept := testserver.Claims(t, c); kept["acr"] != raised["acr"] || kept["auth_time"] != raised["auth_time"] {
			t.Errorf("a refresh changed the proof: %v", kept)
		}
		if !slices.Contains(d.EventTypes(a.Text("session_id")), models.EventSessionSteppedUp) {
			t.Error("no event")
		}
	})
}

func TestARejectedStepUpSpendsNothing(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))
		a, mine, ended := d.SignInBy("alice", "pwd"), d.SignInAtBackend("alice"), d.SignInBy("alice", "pwd")
		d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", ended.Text("refresh_token")}))
		machine := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.AsBackend()))
		elsewhere := d.Want(200, "", d.Exchange("/t/acme", "web", d.Issuer.Token(d.URL+"/t/acme", "alice", nil)))
		refresh, proof := a.Text("refresh_token"), d.Proof("alice", "otp")
		before := d.Written()
		for name, c := range map[string]struct {
			answer *testserver.Answer
			code   string
		}{
			"an unknown session":               {d.StepUp("made-up", proof), "invalid_request"},
			"a made-up token":                  {d.StepUp("lk_rt_made-up", proof), "invalid_grant"},
			"a session that is over":           {d.StepUp(ended.Text("refresh_token"), proof), "invalid_grant"},
			"another client's session":         {d.StepUp(mine.Text("refresh_token"), proof), "invalid_grant"},
			"another tenant's session":         {d.StepUp(elsewhere.Text("refresh_token"), proof), "invalid_grant"},
			"an access token, public client":   {d.StepUp(a.Text("access_token"), proof), "invalid_request"},
			"another client's access token":    {stepUpAtBackend(d, a.Text("access_token"), proof), "invalid_grant"},
			"an access token without session":  {stepUpAtBackend(d, machine.Text("access_token"), proof), "invalid_grant"},
			"garbage for an access token":      {stepUpAtBackend(d, "a.b.c", proof), "invalid_grant"},
			"a wider scope than the session's": {d.StepUp(refresh, proof, "scope", "profile admin"), "invalid_scope"},
			"a target it does not have":        {d.StepUp(refresh, proof, "resource", "https://api.example.com"), "invalid_target"},
			"an unmet acr":                     {d.StepUp(refresh, proof, "acr_values", "phr phrh"), "unmet_authentication_requirements"},
			"an unmet max_age":                 {d.StepUp(refresh, d.Issuer.Token(d.URL, "alice", map[string]any{"amr": []string{"otp"}, "auth_time": d.Clock.Now().Add(-time.Hour).Unix()}), "max_age", "0", "acr_values", "phr"), "unmet_authentication_requirements"},
			"a max_age that is not a number":   {d.StepUp(refresh, proof, "max_age", "-1"), "invalid_request"},
			"a session token as the result":    {stepUpAtBackend(d, mine.Text("session_token"), proof, "requested_token_type", testserver.TypeSession), "invalid_request"},
			"no client token":                  {d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "client_id", "web", "latchkey_session_token", refresh}), "invalid_request"},
			"the session token as the proof":   {d.StepUp(refresh, refresh), "invalid_request"},
		} {
			t.Run(name, func(t *testing.T) {
				if c.answer.Status != 400 || c.answer.Error() != c.code {
					t.Errorf("status %d %s", c.answer.Status, c.answer.Body)
				}
			})
		}
		d.WantUnchanged(t, before)
		d.Want(200, "", d.StepUp(refresh, proof))
	})
}

func TestAStepUpByAnotherUserIsRejectedAndRecorded(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInBy("alice", "pwd")
		before := d.Stored("sessions", "users", "spent_tokens")
		d.Want(400, "invalid_request", d.StepUp(a.Text("refresh_token"), d.Proof("mallory", "otp")))
		if d.Stored("sessions", "users", "spent_tokens") != before {
			t.Error("something has changed")
		}
		if !slices.Contains(d.EventTypes(a.Text("session_id")), models.EventStepUpRefused) {
			t.Error("no event")
		}
		d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
	})
}

func TestAClientTokenStepsUpOnce(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a, proof := d.SignInBy("alice", "pwd"), d.Proof("alice", "otp")
		b := d.Want(200, "", d.StepUp(a.Text("refresh_token"), proof))
		d.Want(400, "invalid_request", d.StepUp(b.Text("refresh_token"), proof))
		d.Want(400, "invalid_request", d.Exchange("", "web", proof))
		spent := d.Proof("alice", "hwk")
		d.Want(200, "", d.Exchange("", "web", spent))
		d.Want(400, "invalid_request", d.StepUp(b.Text("refresh_token"), spent))
		if got := testserver.Claims(t, d.Want(200, "", d.Refresh("", "web", b.Text("refresh_token"))))["acr"]; got != "urn:latchkey:acr:2" {
			t.Errorf("acr %v", got)
		}
	})
}

func TestAStepUpWithAUsedRefreshTokenEndsTheSession(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInBy("alice", "pwd")
		b := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		b = d.Want(200, "", d.Refresh("", "web", b.Text("refresh_token")))
		d.Clock.Advance(time.Minute)
		proof := d.Proof("alice", "otp")
		d.Want(400, "invalid_grant", d.StepUp(a.Text("refresh_token"), proof))
		d.Want(400, "invalid_grant", d.Refresh("", "web", b.Text("refresh_token")))
		if !slices.Contains(d.EventTypes(a.Text("session_id")), models.EventRefreshReuse) {
			t.Error("no event for the reuse")
		}
		d.Want(200, "", d.Exchange("", "web", proof)) // the proof was not spent
	})
}

func TestConcurrentStepUpsBothCount(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		for range 5 {
			a := d.SignInBy("alice", "pwd")
			methods := []string{"otp", "hwk", "face", "sms", "pin", "fpt", "swk", "tel"}
			proofs := make([]string, len(methods))
			for i, method := range methods {
				proofs[i] = d.Proof("alice", method)
			}
			answers := testserver.InParallel(len(methods), func(i int) *testserver.Answer { return d.StepUp(a.Text("refresh_token"), proofs[i]) })
			for _, b := range answers {
				if b.Status != 200 || b.Text("refresh_token") != answers[0].Text("refresh_token") {
					t.Fatalf("status %d %s", b.Status, b.Body)
				}
			}
			c := d.Want(200, "", d.Refresh("", "web", answers[0].Text("refresh_token")))
			amr := fmt.Sprint(testserver.Claims(t, c)["amr"])
			for _, method := range append(methods, "pwd") {
				if !strings.Contains(amr, method) {
					t.Errorf("%s was lost: %s", method, amr)
				}
			}
		}
	})
}

func TestOnlyAFullReauthenticationExtendsTheSession(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInBy("alice", "pwd")
		d.Clock.Advance(24 * time.Hour)
		b := d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "otp")))
		if b.JSON["session_expires_at"] != a.JSON["session_expires_at"] {
			t.Error("a single added factor moved the end")
		}
		c := d.Want(200, "", d.StepUp(b.Text("refresh_token"), d.Proof("alice", "pwd", "otp")))
		if c.JSON["session_expires_at"] != a.JSON["session_expires_at"].(float64)+24*3600 {
			t.Errorf("after a full one it ends at %v, before at %v", c.JSON["session_expires_at"], a.JSON["session_expires_at"])
		}
	})
}

// The strong factor is too old, so only a weak one counts for the session.
func TestAStepUpThatLowersTheClassExtendsNothing(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		spec := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
		spec.ACR = []settings.ACRClass{{Value: "low", When: "amr.size() > 0"}, {Value: "fresh", When: "factors.exists(f, f.amr == 'hwk' && f.age < 60)"}}
		d.Apply(spec)
		a := d.SignInBy("alice", "hwk")
		d.Clock.Advance(time.Hour)
		b := d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "pwd")))
		if acr := testserver.Claims(t, b)["acr"]; acr != "low" || b.JSON["session_expires_at"] != a.JSON["session_expires_at"] {
			t.Errorf("it is %v now, and ends at %v instead of %v", acr, b.JSON["session_expires_at"], a.JSON["session_expires_at"])
		}
	})
}

func TestAStepUpChecksWhetherEverybodyIsEnabled(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		other := testserver.NewIssuer(t, d.Clock)
		spec := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
		spec.TrustedIssuers[0].ShareSubjects = true
		second := other.Entry()
		second.ShareSubjects = true
		spec.TrustedIssuers = append(spec.TrustedIssuers, second)
		d.Apply(spec)
		a := d.SignInBy("alice", "pwd")
		raise := func() *testserver.Answer {
			return d.StepUp(a.Text("refresh_token"), other.Token(d.URL, "alice", map[string]any{"amr": []string{"otp"}}))
		}
		spec.TrustedIssuers[1].Disabled = true
		d.Apply(spec)
		d.Want(400, "invalid_request", raise())
		spec.TrustedIssuers[1].Disabled, spec.TrustedIssuers[0].Disabled = false, true
		d.Apply(spec)
		d.Want(400, "invalid_grant", raise())
		d.Apply(settings.TenantSpec{ID: "default", Users: []settings.UserSpec{{Sub: "bob", Disabled: true}}})
		d.Want(400, "invalid_request", d.Exchange("", "web", other.Token(d.URL, "bob", nil)))
	})
}

// What another node has disabled is rejected before this node has noticed.
func TestAStepUpChecksTheDatabaseForDisabledUsers(t *testing.T) {
	for name, disable := range map[string]func(s *settings.TenantSpec){
		"the session's issuer":      func(s *settings.TenantSpec) { s.TrustedIssuers[0].Disabled = true },
		"the client token's issuer": func(s *settings.TenantSpec) { s.TrustedIssuers[1].Disabled = true },
		"the client":                func(s *settings.TenantSpec) { s.Clients[0].Disabled = true },
		"the tenant":                func(s *settings.TenantSpec) { s.Disabled = true },
		"the user":                  func(s *settings.TenantSpec) { s.Users = []settings.UserSpec{{Sub: "alice", Disabled: true}} },
	} {
		t.Run(name, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				other := testserver.NewIssuer(t, d.Clock)
				spec := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
				spec.SigningAlgorithm = "ES256"
				spec.TrustedIssuers = append(spec.TrustedIssuers, other.Entry())
				spec.TrustedIssuers[0].ShareSubjects, spec.TrustedIssuers[1].ShareSubjects = true, true
				d.Apply(spec)
				a := d.SignInBy("alice", "pwd")
				disable(&spec)
				if _, err := d.Store.Apply(t.Context(), []settings.TenantSpec{spec}, d.Keys, models.ApplyOptions{Replace: true}); err != nil {
					t.Fatal(err)
				}
				if b := d.StepUp(a.Text("refresh_token"), other.Token(d.URL, "alice", map[string]any{"amr": []string{"otp"}})); b.Status != 400 {
					t.Errorf("status %d %s", b.Status, b.Body)
				}
				if count(d, "spent_tokens") != 1 || count(d, "events WHERE type = 'session_raised'") != 0 {
					t.Error("something was written")
				}
			})
		})
	}
}

func TestAStepUpDuringRefreshesLosesNoRotation(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInAtBackend("alice")
		access, refresh := a.Text("access_token"), a.Text("refresh_token")
		proofs := make([]string, 20)
		for i := range proofs {
			proofs[i] = d.Proof("alice", []string{"pwd", "otp", "hwk"}[i%3])
		}
		var generations sync.Map // the returned generations
		testserver.InParallel(3, func(i int) *testserver.Answer {
			for n := range 20 {
				if i < 2 {
					b := stepUpAtBackend(d, access, proofs[n])
					if b.Status != 200 && b.Error() != "invalid_request" { // the other one was faster
						t.Errorf("step-up: %d %s", b.Status, b.Body)
					}
					if b.Status == 200 {
						generations.Store(b.JSON["latchkey_generation"], true)
					}
					continue
				}
				b := d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", refresh}, testserver.AsBackend())
				if b.Status != 200 && b.Text("latchkey_reason") != string(oauth.ReasonRefreshSuperseded) { // a step-up was faster
					t.Errorf("refresh: %d %s", b.Status, b.Body)
				}
				if b.Status == 200 {
					generations.Store(b.JSON["latchkey_generation"], true)
					refresh = b.Text("refresh_token")
				}
			}
			return nil
		})
		moved := uint32(0)
		generations.Range(func(any, any) bool { moved++; return true })
		if row := d.SessionRow("default", a.Text("session_id")); row.Refresh.Generation != moved || len(row.Factors) != 3 {
			t.Errorf("generation %d, %d factors", row.Refresh.Generation, len(row.Factors))
		}
	})
}

func TestAnExchangeMeetsTheDemandOrSpendsNothing(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		proof := d.Proof("alice", "pwd", "otp")
		for _, unmet := range [][]string{{"acr_values", "phr"}, {"acr_values", "gold phrh"}} {
			d.Want(400, "unmet_authentication_requirements", d.Exchange("", "web", proof, unmet...))
		}
		old := d.Issuer.Token(d.URL, "alice", map[string]any{"amr": []string{"hwk"}, "auth_time": d.Clock.Now().Add(-time.Hour).Unix()})
		d.Want(400, "unmet_authentication_requirements", d.Exchange("", "web", old, "max_age", "3599"))
		d.Want(400, "invalid_request", d.Exchange("", "web", old, "max_age", "soon"))
		if count(d, "sessions") != 0 || count(d, "spent_tokens") != 0 {
			t.Error("something was written")
		}
		a := d.Want(200, "", d.Exchange("", "web", proof, "acr_values", "phr urn:latchkey:acr:1", "max_age", "60"))
		if testserver.Claims(t, a)["acr"] != "urn:latchkey:acr:2" {
			t.Errorf("%v", testserver.Claims(t, a))
		}
		d.Want(200, "", d.Exchange("", "web", old, "max_age", "3600"))
	})
}
