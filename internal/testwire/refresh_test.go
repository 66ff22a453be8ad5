package testwire

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

func TestRefreshRotatesAndKeepsTheSession(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		first := d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", map[string]any{
			"amr": []string{"pwd", "otp"}, "auth_time": d.Clock.Now().Add(-time.Hour).Unix(),
		})))
		d.Clock.Advance(time.Minute)
		second := d.Want(200, "", d.Refresh("", "web", first.Text("refresh_token")))
		if second.Text("refresh_token") == first.Text("refresh_token") || second.Text("session_id") != first.Text("session_id") {
			t.Fatalf("%s", second.Body)
		}
		if second.JSON["session_expires_at"] != first.JSON["session_expires_at"] {
			t.Errorf("the absolute end moved: %v, was %v", second.JSON["session_expires_at"], first.JSON["session_expires_at"])
		}
		before, after := testserver.Claims(t, first), testserver.Claims(t, second)
		for _, name := range []string{"sub", "sid", "client_id", "auth_time", "iss", "aud", "acr", "amr"} {
			if before[name] == nil || !reflect.DeepEqual(before[name], after[name]) {
				t.Errorf("%s changed from %v to %v", name, before[name], after[name])
			}
		}
		if before["jti"] == after["jti"] || after["iat"] != before["iat"].(float64)+60 || after["exp"] != before["exp"].(float64)+60 {
			t.Errorf("jti, iat and exp are not fresh: %v, %v", before, after)
		}
	})
}

func TestRefreshRetriedInsideTheWindowGetsTheSameSuccessor(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		first := d.SignIn("alice").Text("refresh_token")
		second := d.Want(200, "", d.Refresh("", "web", first))
		d.Clock.Advance(9 * time.Second)
		again := d.Want(200, "", d.Refresh("", "web", first))
		if again.Text("refresh_token") != second.Text("refresh_token") {
			t.Error("another successor")
		}
		if !d.Active(again.Text("access_token")) || again.Text("access_token") == second.Text("access_token") {
			t.Error("the retry has no fresh access token")
		}
		if got := d.EventTypes(second.Text("session_id")); len(got) != 1 {
			t.Errorf("a retry from the same place left events: %v", got)
		}
	})
}

func TestRefreshOutcomes(t *testing.T) {
	type refresh struct {
		generation int           // of the presented token
		wait       time.Duration // before the request
		want       string        // error code
	}
	const neverLate = "a used token after the window ends the session of a client without late retries"
	for name, c := range map[string]struct {
		steps []refresh
		lives bool
		event models.EventType
	}{
		"a used token after the window is accepted once":               {[]refresh{{0, 0, ""}, {0, 10 * time.Second, ""}}, true, models.EventRefreshRetriedLate},
		"a used token after another was retried late ends the session": {[]refresh{{0, 0, ""}, {0, 10 * time.Second, ""}, {1, 0, ""}, {1, 10 * time.Second, testserver.InvalidGrant}}, false, models.EventRefreshReuse},
		neverLate: {[]refresh{{0, 0, ""}, {0, 10 * time.Second, testserver.InvalidGrant}}, false, models.EventRefreshReuse},
		"a used token after its successor was used ends the session later": {[]refresh{{0, 0, ""}, {1, 0, ""}, {0, 10 * time.Second, testserver.InvalidGrant}}, false, models.EventRefreshReuse},
		"a delayed duplicate ends nothing":                                 {[]refresh{{0, 0, ""}, {1, 0, ""}, {0, 9 * time.Second, testserver.InvalidGrant}}, true, models.EventRefreshDuplicate},
		"a token three rotations old ends the session at once":             {[]refresh{{0, 0, ""}, {1, 0, ""}, {2, 0, ""}, {0, 0, testserver.InvalidGrant}}, false, models.EventRefreshReuse},
		"the idle limit ends the session":                                  {[]refresh{{0, 5 * 24 * time.Hour, testserver.InvalidGrant}}, false, ""},
		"use moves the idle limit":                                         {[]refresh{{0, 4 * 24 * time.Hour, ""}, {1, 4 * 24 * time.Hour, ""}}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				if name == neverLate {
					client := testserver.Web()
					client.LateRetry = settings.LateRetryNever
					d.Apply(testserver.Tenant("default", d.Issuer, client, testserver.Backend()))
				}
				first := d.SignIn("alice")
				tokens, sid := []string{first.Text("refresh_token")}, first.Text("session_id")
				for i, step := range c.steps {
					d.Clock.Advance(step.wait)
					status := 200
					if step.want != "" {
						status = 400
					}
					a := d.Want(status, step.want, d.Refresh("", "web", tokens[step.generation]))
					if i == len(c.steps)-1 && step.want != "" {
						break
					}
					tokens = append(tokens, a.Text("refresh_token"))
				}
				newest := d.Refresh("", "web", tokens[len(tokens)-1])
				if lives := newest.Status == 200; lives != c.lives {
					t.Errorf("the session is alive: %t, want %t (%s)", lives, c.lives, newest.Body)
				}
				if c.event != "" && !slices.Contains(d.EventTypes(sid), c.event) {
					t.Errorf("no event %s among %v", c.event, d.EventTypes(sid))
				}
			})
		})
	}
}

func TestRefreshNeverPassesTheAbsoluteEnd(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		for range 7 {
			d.Clock.Advance(4*24*time.Hour + 6*time.Hour)
			a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		}
		d.Clock.Advance(30*24*time.Hour - 7*(4*24*time.Hour+6*time.Hour) - time.Minute)
		a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		if a.JSON["expires_in"] != 60.0 {
			t.Errorf("expires_in %v one minute before the end, want 60", a.JSON["expires_in"])
		}
		d.Clock.Advance(time.Minute)
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", a.Text("refresh_token")))
	})
}

func TestRefreshOfAnotherClientEndsNothing(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		token := d.SignIn("alice").Text("refresh_token")
		asBackend := func(token string) *testserver.Answer {
			return d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", token}, testserver.Basic("backend", testserver.ClientSecret))
		}
		d.Want(400, testserver.InvalidGrant, asBackend(token))
		next := d.Want(200, "", d.Refresh("", "web", token)).Text("refresh_token")
		d.Clock.Advance(time.Hour)
		d.Want(400, testserver.InvalidGrant, asBackend(token)) // used, and not its own: no reuse detection for strangers
		d.Want(401, "invalid_client", d.Refresh("", "nobody", token))
		d.Want(200, "", d.Refresh("", "web", next))
	})
}

func TestRefreshScopeAndTargetMayOnlyNarrow(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		token := d.SignIn("alice", "audience", "https://api.example.com", "audience", "web").Text("refresh_token")
		for _, c := range []struct{ name, value, code string }{
			{"scope", "profile admin", "invalid_scope"},
			{"scope", "profile\torders:read", "invalid_scope"},
			{"scope", " profile  admin ", "invalid_scope"},
			{"resource", "https://files.example.com", "invalid_target"},
			{"audience", "https://api.example.com/", "invalid_target"},
		} {
			d.Want(400, c.code, d.Refresh("", "web", token, c.name, c.value))
		}
		narrowed := d.Want(200, "", d.Refresh("", "web", token, "scope", " profile  ", "audience", "https://api.example.com"))
		if got := testserver.Claims(t, narrowed); got["scope"] != "profile" || got["aud"] != "https://api.example.com" {
			t.Errorf("scope %v, aud %v", got["scope"], got["aud"])
		}
		whole := d.Want(200, "", d.Refresh("", "web", narrowed.Text("refresh_token")))
		if whole.Text("scope") != "profile orders:read" {
			t.Errorf("the refresh token lost its scope: %s", whole.Text("scope"))
		}
	})
}

func TestRefreshFollowsAChangedClientAndUser(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		client := testserver.Web()
		client.Claims = map[string]string{"plan": "user.plan"}
		tenant := testserver.Tenant("default", d.Issuer, client, testserver.Backend())
		tenant.Users = []settings.UserSpec{{Sub: "alice", Attributes: map[string]any{"plan": "free"}}}
		d.Apply(tenant)
		a := d.SignIn("alice")
		if got := testserver.Claims(t, a)["plan"]; got != "free" {
			t.Fatalf("plan %v", got)
		}
		tenant.Users[0].Attributes["plan"] = "pro"
		tenant.Clients[0].Scopes = []string{"profile"}
		d.Apply(tenant)
		a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		if got := testserver.Claims(t, a); got["plan"] != "pro" || got["scope"] != "profile" || a.Text("scope") != "profile" {
			t.Errorf("plan %v, scope %v after the change", got["plan"], got["scope"])
		}
		tenant.Clients[0].Grants = []string{settings.GrantTokenExchange}
		d.Apply(tenant)
		d.Want(400, "unauthorized_client", d.Refresh("", "web", a.Text("refresh_token")))
	})
}

func TestDisablingRejectsRefreshesAtOnce(t *testing.T) {
	for name, disable := range map[string]func(*settings.TenantSpec){
		"user":   func(s *settings.TenantSpec) { s.Users = []settings.UserSpec{{Sub: "alice", Disabled: true}} },
		"client": func(s *settings.TenantSpec) { s.Clients[0].Disabled = true },
		"issuer": func(s *settings.TenantSpec) { s.TrustedIssuers[0].Disabled = true },
		"tenant": func(s *settings.TenantSpec) { s.Disabled = true },
	} {
		t.Run(name, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				a := d.SignIn("alice")
				tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
				disable(&tenant)
				d.Clock.Advance(time.Second)
				d.Apply(tenant)
				if r := d.Refresh("", "web", a.Text("refresh_token")); r.Status != 400 && r.Status != 401 {
					t.Errorf("disabled: %d %s", r.Status, r.Body)
				}
				if in := d.Introspect("", a.Text("access_token")); in.JSON["active"] == true {
					t.Errorf("disabled: %s", in.Body)
				}
				d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend()))
				if name == "user" {
					d.Apply(settings.TenantSpec{ID: "default", Users: []settings.UserSpec{{Sub: "alice"}}})
				}
				d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", a.Text("refresh_token"))) // an ended session never comes back
				if d.Active(a.Text("access_token")) {
					t.Error("active again")
				}
				d.Clock.Advance(time.Second) // a client token of the second in which the user was disabled is refused
				d.SignIn("alice")
			})
		})
	}
}

func TestConcurrentRefreshesOfOneTokenRotateOnce(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		token := d.SignIn("alice").Text("refresh_token")
		answers := testserver.InParallel(64, func(int) *testserver.Answer { return d.Refresh("", "web", token) })
		successor := answers[0].Text("refresh_token")
		for _, a := range answers {
			d.Want(200, "", a)
			if a.Text("refresh_token") != successor {
				t.Fatalf("two successors: %s and %s", a.Text("refresh_token"), successor)
			}
		}
		next := d.Want(200, "", d.Refresh("", "web", successor)).Text("refresh_token")
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", token)) // a delayed duplicate
		d.Want(200, "", d.Refresh("", "web", next))
	})
}

func TestConcurrentRefreshesDoNotOutliveARevoke(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		first := d.SignIn("alice")
		token := first.Text("refresh_token")
		answers := testserver.InParallel(64, func(i int) *testserver.Answer {
			if i == 20 {
				return d.Post("/revoke", []string{"client_id", "web", "token", token})
			}
			return d.Refresh("", "web", token)
		})
		d.Want(200, "", answers[20])
		for i, a := range answers {
			if i == 20 {
				continue
			}
			if a.Status != 200 && (a.Status != 400 || a.Error() != testserver.InvalidGrant) {
				t.Errorf("%d %s", a.Status, a.Body)
			}
			if a.Status == 200 && d.Active(a.Text("access_token")) {
				t.Error("a racing refresh left an active token")
			}
		}
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", token))
	})
}

func TestARefreshTokenSharedByTwoPartiesIsDetected(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		token, sid := a.Text("refresh_token"), a.Text("session_id")
		for generation := 1; generation <= 3; generation++ {
			mine := d.Want(200, "", d.Refresh("", "web", token))
			for range 2 { // a repetition changes nothing
				d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", token}, testserver.Header("User-Agent", "a thief")))
			}
			want := []models.EventType{models.EventSessionCreated, models.EventRefreshElsewhere, models.EventRefreshElsewhere, models.EventRefreshElsewhere}[:generation+1]
			if generation == 3 {
				want = append(want, models.EventRefreshShared)
			}
			if got := d.EventTypes(sid); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
				t.Errorf("after %d generations: %v", generation, got)
			}
			token = mine.Text("refresh_token")
		}
	})
}
