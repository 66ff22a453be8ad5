package handlers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// proof is a fresh client token of a user who proved these methods now.
func (w *world) proof(sub string, amr ...string) string {
	return w.issuer.Token(w.URL, sub, map[string]any{"amr": amr, "auth_time": w.Clock.Now().Unix()})
}

// signInBy signs in at the public client by these methods.
func (w *world) signInBy(sub string, amr ...string) *testserver.Answer {
	w.t.Helper()
	return w.want(200, "", w.Exchange("", "web", w.proof(sub, amr...)))
}

// stepUp raises a session at the public client.
func (w *world) stepUp(session, proof string, extra ...string) *testserver.Answer {
	return w.Exchange("", "web", proof, append([]string{"latchkey_session_token", session}, extra...)...)
}

// stepUpAtBackend raises a session at the secret client.
func (w *world) stepUpAtBackend(session, proof string, extra ...string) *testserver.Answer {
	return w.Post("/token", append([]string{
		"grant_type", tokenExchange, "subject_token_type", ofJWT, "subject_token", proof, "latchkey_session_token", session,
	}, extra...), asBackend())
}

func TestAStepUpRaisesItsSession(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signInBy("alice", "pwd")
		w.Clock.Advance(time.Minute)
		b := w.want(200, "", w.stepUp(a.Text("refresh_token"), w.proof("alice", "otp")))
		before, raised := claims(t, a), claims(t, b)
		if b.Text("session_id") != a.Text("session_id") || raised["sid"] != before["sid"] {
			t.Errorf("another session: %s", b.Body)
		}
		if before["acr"] != "urn:latchkey:acr:1" || raised["acr"] != "urn:latchkey:acr:2" || fmt.Sprint(raised["amr"]) != "[pwd otp]" {
			t.Errorf("acr %v became %v, amr %v", before["acr"], raised["acr"], raised["amr"])
		}
		if raised["auth_time"] != before["auth_time"].(float64)+60 {
			t.Errorf("auth_time %v, was %v", raised["auth_time"], before["auth_time"])
		}
		if in := w.Introspect("", a.Text("access_token")); in.Text("acr") != "urn:latchkey:acr:1" || in.JSON["active"] != true {
			t.Errorf("the older token: %s", in.Body)
		}
		c := w.want(200, "", w.Refresh("", "web", b.Text("refresh_token")))
		if kept := claims(t, c); kept["acr"] != raised["acr"] || kept["auth_time"] != raised["auth_time"] {
			t.Errorf("a refresh changed the proof: %v", kept)
		}
		if !slices.Contains(w.events(a.Text("session_id")), models.EventSessionRaised) {
			t.Error("no event tells of it")
		}
	})
}

func TestAStepUpMovesOnlyTheChainOfThePresentedToken(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signInAtBackend("alice")
		byAccess := w.want(200, "", w.stepUpAtBackend(a.Text("access_token"), w.proof("alice", "pwd")))
		if byAccess.JSON["refresh_token"] != nil || byAccess.JSON["session_token"] != nil {
			t.Errorf("by an access token: %s", byAccess.Body)
		}
		bySession := w.want(200, "", w.stepUpAtBackend(a.Text("session_token"), w.proof("alice", "otp")))
		fresh := bySession.Text("session_token")
		if bySession.JSON["refresh_token"] != nil || fresh == "" || fresh == a.Text("session_token") {
			t.Errorf("by a session token: %s", bySession.Body)
		}
		if claims(t, bySession)["acr"] != "urn:latchkey:acr:2" {
			t.Errorf("%v", claims(t, bySession))
		}
		w.want(400, "invalid_request", w.swap(a.Text("session_token")))
		w.want(200, "", w.swap(fresh))
		w.want(200, "", w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")}, asBackend()))

		again := w.want(200, "", w.stepUpAtBackend(a.Text("session_token"), w.proof("alice", "pin")))
		if again.Text("session_token") != fresh {
			t.Error("inside the window the old session token does not yield the new one")
		}
		w.Clock.Advance(time.Minute)
		w.want(400, "invalid_grant", w.stepUpAtBackend(a.Text("session_token"), w.proof("alice", "pin")))
		w.want(200, "", w.swap(fresh))
	})
}

func TestAStepUpIsRefusedAndSpendsNothing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.Apply(testserver.Tenant("acme", w.issuer, testserver.Web()))
		a, mine, ended := w.signInBy("alice", "pwd"), w.signInAtBackend("alice"), w.signInBy("alice", "pwd")
		w.want(200, "", w.Post("/revoke", []string{"client_id", "web", "token", ended.Text("refresh_token")}))
		machine := w.want(200, "", w.Post("/token", []string{"grant_type", "client_credentials"}, asBackend()))
		elsewhere := w.want(200, "", w.Exchange("/t/acme", "web", w.issuer.Token(w.URL+"/t/acme", "alice", nil)))
		refresh, proof := a.Text("refresh_token"), w.proof("alice", "otp")
		before := w.written()
		for name, c := range map[string]struct {
			answer *testserver.Answer
			code   string
		}{
			"no session of ours":              {w.stepUp("made-up", proof), "invalid_request"},
			"a made-up token":                 {w.stepUp("lk_rt_made-up", proof), "invalid_grant"},
			"a session that is over":          {w.stepUp(ended.Text("refresh_token"), proof), "invalid_grant"},
			"another client's session":        {w.stepUp(mine.Text("refresh_token"), proof), "invalid_grant"},
			"another tenant's session":        {w.stepUp(elsewhere.Text("refresh_token"), proof), "invalid_grant"},
			"an access token, public client":  {w.stepUp(a.Text("access_token"), proof), "invalid_request"},
			"another client's access token":   {w.stepUpAtBackend(a.Text("access_token"), proof), "invalid_grant"},
			"an access token without session": {w.stepUpAtBackend(machine.Text("access_token"), proof), "invalid_grant"},
			"garbage for an access token":     {w.stepUpAtBackend("a.b.c", proof), "invalid_grant"},
			"more scope than the session has": {w.stepUp(refresh, proof, "scope", "profile admin"), "invalid_scope"},
			"a target it does not have":       {w.stepUp(refresh, proof, "resource", "https://api.example.com"), "invalid_target"},
			"an unmet acr":                    {w.stepUp(refresh, proof, "acr_values", "phr phrh"), "unmet_authentication_requirements"},
			"an unmet max_age":                {w.stepUp(refresh, w.issuer.Token(w.URL, "alice", map[string]any{"amr": []string{"otp"}, "auth_time": w.Clock.Now().Add(-time.Hour).Unix()}), "max_age", "0", "acr_values", "phr"), "unmet_authentication_requirements"},
			"a max_age that is no number":     {w.stepUp(refresh, proof, "max_age", "-1"), "invalid_request"},
			"a session token as the result":   {w.stepUpAtBackend(mine.Text("session_token"), proof, "requested_token_type", ofSession), "invalid_request"},
			"no client token":                 {w.Post("/token", []string{"grant_type", tokenExchange, "client_id", "web", "latchkey_session_token", refresh}), "invalid_request"},
			"the session token as the proof":  {w.stepUp(refresh, refresh), "invalid_request"},
		} {
			t.Run(name, func(t *testing.T) {
				if c.answer.Status != 400 || c.answer.Error() != c.code {
					t.Errorf("answered %d %s", c.answer.Status, c.answer.Body)
				}
			})
		}
		w.same(t, before)
		w.want(200, "", w.stepUp(refresh, proof))
	})
}

func TestAStepUpByAnotherUserIsRefusedAndRemembered(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signInBy("alice", "pwd")
		before := w.stored("sessions", "users", "spent_tokens")
		w.want(400, "invalid_request", w.stepUp(a.Text("refresh_token"), w.proof("mallory", "otp")))
		if w.stored("sessions", "users", "spent_tokens") != before {
			t.Error("something has changed")
		}
		if !slices.Contains(w.events(a.Text("session_id")), models.EventStepUpRefused) {
			t.Error("no event tells of it")
		}
		w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
	})
}

func TestAClientTokenRaisesOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a, proof := w.signInBy("alice", "pwd"), w.proof("alice", "otp")
		b := w.want(200, "", w.stepUp(a.Text("refresh_token"), proof))
		w.want(400, "invalid_request", w.stepUp(b.Text("refresh_token"), proof))
		w.want(400, "invalid_request", w.Exchange("", "web", proof))
		spent := w.proof("alice", "hwk")
		w.want(200, "", w.Exchange("", "web", spent))
		w.want(400, "invalid_request", w.stepUp(b.Text("refresh_token"), spent))
		if got := claims(t, w.want(200, "", w.Refresh("", "web", b.Text("refresh_token"))))["acr"]; got != "urn:latchkey:acr:2" {
			t.Errorf("acr %v", got)
		}
	})
}

func TestALostAnswerToAStepUpIsRecoveredByARefresh(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signInBy("alice", "pwd")
		lost := w.want(200, "", w.stepUp(a.Text("refresh_token"), w.proof("alice", "otp")))
		b := w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
		if b.Text("refresh_token") != lost.Text("refresh_token") || claims(t, b)["acr"] != "urn:latchkey:acr:2" {
			t.Errorf("%s", b.Body)
		}
	})
}

func TestAUsedRefreshTokenRaisesNothingAndEndsItsSession(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signInBy("alice", "pwd")
		b := w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
		w.Clock.Advance(time.Minute)
		proof := w.proof("alice", "otp")
		w.want(400, "invalid_grant", w.stepUp(a.Text("refresh_token"), proof))
		w.want(400, "invalid_grant", w.Refresh("", "web", b.Text("refresh_token")))
		if !slices.Contains(w.events(a.Text("session_id")), models.EventRefreshReuse) {
			t.Error("no event tells of the reuse")
		}
		w.want(200, "", w.Exchange("", "web", proof)) // it was not spent
	})
}

func TestTwoStepUpsAtOnceBothCount(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		for range 5 {
			a := w.signInBy("alice", "pwd")
			methods := []string{"otp", "hwk", "face", "sms", "pin", "fpt", "swk", "tel"}
			proofs := make([]string, len(methods))
			for i, method := range methods {
				proofs[i] = w.proof("alice", method)
			}
			answers := inParallel(len(methods), func(i int) *testserver.Answer { return w.stepUp(a.Text("refresh_token"), proofs[i]) })
			for _, b := range answers {
				if b.Status != 200 || b.Text("refresh_token") != answers[0].Text("refresh_token") {
					t.Fatalf("answered %d %s", b.Status, b.Body)
				}
			}
			c := w.want(200, "", w.Refresh("", "web", answers[0].Text("refresh_token")))
			amr := fmt.Sprint(claims(t, c)["amr"])
			for _, method := range append(methods, "pwd") {
				if !strings.Contains(amr, method) {
					t.Errorf("%s was lost: %s", method, amr)
				}
			}
		}
	})
}

func TestOnlyAFullReauthenticationMovesTheAbsoluteEnd(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signInBy("alice", "pwd")
		w.Clock.Advance(24 * time.Hour)
		b := w.want(200, "", w.stepUp(a.Text("refresh_token"), w.proof("alice", "otp")))
		if b.JSON["session_expires_at"] != a.JSON["session_expires_at"] {
			t.Error("a single added factor moved the end")
		}
		c := w.want(200, "", w.stepUp(b.Text("refresh_token"), w.proof("alice", "pwd", "otp")))
		if c.JSON["session_expires_at"] != a.JSON["session_expires_at"].(float64)+24*3600 {
			t.Errorf("after a full one it ends at %v, before at %v", c.JSON["session_expires_at"], a.JSON["session_expires_at"])
		}
	})
}

// The strong factor has aged, so that a weak one alone is what the session is worth.
func TestAStepUpThatLowersTheClassMovesNoEnd(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		spec := testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend())
		spec.ACR = []models.ACRClass{{Value: "low", When: "amr.size() > 0"}, {Value: "fresh", When: "factors.exists(f, f.amr == 'hwk' && f.age < 60)"}}
		w.Apply(spec)
		a := w.signInBy("alice", "hwk")
		w.Clock.Advance(time.Hour)
		b := w.want(200, "", w.stepUp(a.Text("refresh_token"), w.proof("alice", "pwd")))
		if acr := claims(t, b)["acr"]; acr != "low" || b.JSON["session_expires_at"] != a.JSON["session_expires_at"] {
			t.Errorf("it is %v now, and ends at %v instead of %v", acr, b.JSON["session_expires_at"], a.JSON["session_expires_at"])
		}
	})
}

func TestAStepUpAsksWhoIsEnabled(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		other := testserver.NewIssuer(t, w.Clock)
		spec := testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend())
		spec.TrustedIssuers[0].ShareSubjects = true
		second := other.Entry()
		second.ShareSubjects = true
		spec.TrustedIssuers = append(spec.TrustedIssuers, second)
		w.Apply(spec)
		a := w.signInBy("alice", "pwd")
		raise := func() *testserver.Answer {
			return w.stepUp(a.Text("refresh_token"), other.Token(w.URL, "alice", map[string]any{"amr": []string{"otp"}}))
		}
		spec.TrustedIssuers[1].Disabled = true
		w.Apply(spec)
		w.want(400, "invalid_request", raise())
		spec.TrustedIssuers[1].Disabled, spec.TrustedIssuers[0].Disabled = false, true
		w.Apply(spec)
		w.want(400, "invalid_grant", raise())
		w.Apply(models.TenantSpec{ID: "default", Users: []models.UserSpec{{Sub: "bob", Disabled: true}}})
		w.want(400, "invalid_request", w.Exchange("", "web", other.Token(w.URL, "bob", nil)))
	})
}

// What another node has switched off is refused before this one has noticed.
func TestAStepUpAsksTheDatabaseWhoIsEnabled(t *testing.T) {
	for name, disable := range map[string]func(s *models.TenantSpec){
		"the session's issuer":      func(s *models.TenantSpec) { s.TrustedIssuers[0].Disabled = true },
		"the client token's issuer": func(s *models.TenantSpec) { s.TrustedIssuers[1].Disabled = true },
		"the client":                func(s *models.TenantSpec) { s.Clients[0].Disabled = true },
		"the tenant":                func(s *models.TenantSpec) { s.Disabled = true },
		"the user":                  func(s *models.TenantSpec) { s.Users = []models.UserSpec{{Sub: "alice", Disabled: true}} },
	} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, w *world) {
				other := testserver.NewIssuer(t, w.Clock)
				spec := testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend())
				spec.SigningAlgorithm = "ES256"
				spec.TrustedIssuers = append(spec.TrustedIssuers, other.Entry())
				spec.TrustedIssuers[0].ShareSubjects, spec.TrustedIssuers[1].ShareSubjects = true, true
				w.Apply(spec)
				a := w.signInBy("alice", "pwd")
				disable(&spec)
				if _, err := w.Store.Apply(t.Context(), []models.TenantSpec{spec}, w.Keys, models.ApplyOptions{}); err != nil {
					t.Fatal(err)
				}
				if b := w.stepUp(a.Text("refresh_token"), other.Token(w.URL, "alice", map[string]any{"amr": []string{"otp"}})); b.Status != 400 {
					t.Errorf("answered %d %s", b.Status, b.Body)
				}
				if w.count("spent_tokens") != 1 || w.count("events WHERE type = 'session_raised'") != 0 {
					t.Error("something was written")
				}
			})
		})
	}
}

func TestAStepUpBesideRefreshesLosesNoRotation(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signInAtBackend("alice")
		access, refresh := a.Text("access_token"), a.Text("refresh_token")
		proofs := make([]string, 20)
		for i := range proofs {
			proofs[i] = w.proof("alice", []string{"pwd", "otp", "hwk"}[i%3])
		}
		inParallel(3, func(i int) *testserver.Answer {
			for n := range 20 {
				if i < 2 {
					if b := w.stepUpAtBackend(access, proofs[n]); b.Status != 200 && b.Error() != "invalid_request" { // the other one was faster
						t.Errorf("step-up: %d %s", b.Status, b.Body)
					}
					continue
				}
				b := w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", refresh}, asBackend())
				if b.Status != 200 {
					t.Errorf("refresh: %d %s", b.Status, b.Body)
				}
				refresh = b.Text("refresh_token")
			}
			return nil
		})
		if row := w.session("default", a.Text("session_id")); row.Refresh.Generation != 20 || len(row.Factors) != 3 {
			t.Errorf("generation %d, %d factors", row.Refresh.Generation, len(row.Factors))
		}
	})
}

func TestAnExchangeMeetsTheDemandOrSpendsNothing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		proof := w.proof("alice", "pwd", "otp")
		for _, unmet := range [][]string{{"acr_values", "phr"}, {"acr_values", "gold phrh"}} {
			w.want(400, "unmet_authentication_requirements", w.Exchange("", "web", proof, unmet...))
		}
		old := w.issuer.Token(w.URL, "alice", map[string]any{"amr": []string{"hwk"}, "auth_time": w.Clock.Now().Add(-time.Hour).Unix()})
		w.want(400, "unmet_authentication_requirements", w.Exchange("", "web", old, "max_age", "3599"))
		w.want(400, "invalid_request", w.Exchange("", "web", old, "max_age", "soon"))
		if w.count("sessions") != 0 || w.count("spent_tokens") != 0 {
			t.Error("something was written")
		}
		a := w.want(200, "", w.Exchange("", "web", proof, "acr_values", "phr urn:latchkey:acr:1", "max_age", "60"))
		if claims(t, a)["acr"] != "urn:latchkey:acr:2" {
			t.Errorf("%v", claims(t, a))
		}
		w.want(200, "", w.Exchange("", "web", old, "max_age", "3600"))
	})
}
