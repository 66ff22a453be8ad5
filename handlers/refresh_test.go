package handlers_test

import (
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

const refused = "invalid_grant"

func TestRefreshRotatesAndKeepsTheSession(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		first := w.want(200, "", w.Exchange("", "web", w.issuer.Token(w.URL, "alice", map[string]any{
			"amr": []string{"pwd", "otp"}, "auth_time": w.Clock.Now().Add(-time.Hour).Unix(),
		})))
		w.Clock.Advance(time.Minute)
		second := w.want(200, "", w.Refresh("", "web", first.Text("refresh_token")))
		if second.Text("refresh_token") == first.Text("refresh_token") || second.Text("session_id") != first.Text("session_id") {
			t.Fatalf("%s", second.Body)
		}
		if second.JSON["session_expires_at"] != first.JSON["session_expires_at"] {
			t.Errorf("the absolute end moved: %v, was %v", second.JSON["session_expires_at"], first.JSON["session_expires_at"])
		}
		before, after := claims(t, first), claims(t, second)
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
	eachDatabase(t, func(t *testing.T, w *world) {
		first := w.signIn("alice").Text("refresh_token")
		second := w.want(200, "", w.Refresh("", "web", first))
		w.Clock.Advance(9 * time.Second)
		again := w.want(200, "", w.Refresh("", "web", first))
		if again.Text("refresh_token") != second.Text("refresh_token") {
			t.Error("another successor")
		}
		if !w.active(again.Text("access_token")) || again.Text("access_token") == second.Text("access_token") {
			t.Error("the retry has no fresh access token")
		}
		if got := w.events(second.Text("session_id")); len(got) != 1 {
			t.Errorf("a retry from the same place left events: %v", got)
		}
	})
}

func TestRefreshOutcomes(t *testing.T) {
	type refresh struct {
		generation int           // of the presented token
		wait       time.Duration // before it
		want       string        // error code
	}
	for name, c := range map[string]struct {
		steps []refresh
		lives bool
		event models.EventType
	}{
		"a used token after the window ends the session":                   {[]refresh{{0, 0, ""}, {0, 10 * time.Second, refused}}, false, models.EventRefreshReuse},
		"a used token after its successor was used ends the session later": {[]refresh{{0, 0, ""}, {1, 0, ""}, {0, 10 * time.Second, refused}}, false, models.EventRefreshReuse},
		"a delayed duplicate ends nothing":                                 {[]refresh{{0, 0, ""}, {1, 0, ""}, {0, 9 * time.Second, refused}}, true, models.EventRefreshDuplicate},
		"a token three rotations old ends the session at once":             {[]refresh{{0, 0, ""}, {1, 0, ""}, {2, 0, ""}, {0, 0, refused}}, false, models.EventRefreshReuse},
		"the idle limit ends the session":                                  {[]refresh{{0, 5 * 24 * time.Hour, refused}}, false, ""},
		"use moves the idle limit":                                         {[]refresh{{0, 4 * 24 * time.Hour, ""}, {1, 4 * 24 * time.Hour, ""}}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, w *world) {
				first := w.signIn("alice")
				tokens, sid := []string{first.Text("refresh_token")}, first.Text("session_id")
				for i, step := range c.steps {
					w.Clock.Advance(step.wait)
					status := 200
					if step.want != "" {
						status = 400
					}
					a := w.want(status, step.want, w.Refresh("", "web", tokens[step.generation]))
					if i == len(c.steps)-1 && step.want != "" {
						break
					}
					tokens = append(tokens, a.Text("refresh_token"))
				}
				newest := w.Refresh("", "web", tokens[len(tokens)-1])
				if lives := newest.Status == 200; lives != c.lives {
					t.Errorf("the session lives: %t, want %t (%s)", lives, c.lives, newest.Body)
				}
				if c.event != "" && !slices.Contains(w.events(sid), c.event) {
					t.Errorf("no event %s among %v", c.event, w.events(sid))
				}
			})
		})
	}
}

func TestRefreshNeverPassesTheAbsoluteEnd(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signIn("alice")
		for range 7 {
			w.Clock.Advance(4*24*time.Hour + 6*time.Hour)
			a = w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
		}
		w.Clock.Advance(30*24*time.Hour - 7*(4*24*time.Hour+6*time.Hour) - time.Minute)
		a = w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
		if a.JSON["expires_in"] != 60.0 {
			t.Errorf("expires_in %v one minute before the end, want 60", a.JSON["expires_in"])
		}
		w.Clock.Advance(time.Minute)
		w.want(400, refused, w.Refresh("", "web", a.Text("refresh_token")))
	})
}

func TestRefreshOfAnotherClientEndsNothing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		token := w.signIn("alice").Text("refresh_token")
		asBackend := func(token string) *testserver.Answer {
			return w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", token}, testserver.Basic("backend", testserver.ClientSecret))
		}
		w.want(400, refused, asBackend(token))
		next := w.want(200, "", w.Refresh("", "web", token)).Text("refresh_token")
		w.Clock.Advance(time.Hour)
		w.want(400, refused, asBackend(token)) // used, and not its own: no reuse detection for strangers
		w.want(401, "invalid_client", w.Refresh("", "nobody", token))
		w.want(200, "", w.Refresh("", "web", next))
	})
}

func TestRefreshScopeAndTargetMayOnlyNarrow(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		token := w.signIn("alice", "audience", "https://api.example.com", "audience", "web").Text("refresh_token")
		for _, c := range []struct{ name, value, code string }{
			{"scope", "profile admin", "invalid_scope"},
			{"scope", "profile  orders:read", "invalid_scope"},
			{"resource", "https://files.example.com", "invalid_target"},
			{"audience", "https://api.example.com/", "invalid_target"},
		} {
			w.want(400, c.code, w.Refresh("", "web", token, c.name, c.value))
		}
		narrowed := w.want(200, "", w.Refresh("", "web", token, "scope", "profile", "audience", "https://api.example.com"))
		if got := claims(t, narrowed); got["scope"] != "profile" || got["aud"] != "https://api.example.com" {
			t.Errorf("scope %v, aud %v", got["scope"], got["aud"])
		}
		whole := w.want(200, "", w.Refresh("", "web", narrowed.Text("refresh_token")))
		if whole.Text("scope") != "profile orders:read" {
			t.Errorf("the refresh token lost its scope: %s", whole.Text("scope"))
		}
	})
}

func TestRefreshFollowsAChangedClientAndUser(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		client := testserver.Web()
		client.Claims = map[string]string{"plan": "user.plan"}
		tenant := testserver.Tenant("default", w.issuer, client, testserver.Backend())
		tenant.Users = []models.UserSpec{{Sub: "alice", Attributes: map[string]any{"plan": "free"}}}
		w.Apply(tenant)
		a := w.signIn("alice")
		if got := claims(t, a)["plan"]; got != "free" {
			t.Fatalf("plan %v", got)
		}
		tenant.Users[0].Attributes["plan"] = "pro"
		tenant.Clients[0].Scopes = []string{"profile"}
		w.Apply(tenant)
		a = w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
		if got := claims(t, a); got["plan"] != "pro" || got["scope"] != "profile" || a.Text("scope") != "profile" {
			t.Errorf("plan %v, scope %v after the change", got["plan"], got["scope"])
		}
		tenant.Clients[0].Grants = []string{models.GrantTokenExchange}
		w.Apply(tenant)
		w.want(400, "unauthorized_client", w.Refresh("", "web", a.Text("refresh_token")))
	})
}

func TestRefreshIsRefusedAtOnceWhenSomebodyIsDisabled(t *testing.T) {
	for name, disable := range map[string]func(*models.TenantSpec){
		"user":   func(s *models.TenantSpec) { s.Users = []models.UserSpec{{Sub: "alice", Disabled: true}} },
		"client": func(s *models.TenantSpec) { s.Clients[0].Disabled = true },
		"issuer": func(s *models.TenantSpec) { s.TrustedIssuers[0].Disabled = true },
		"tenant": func(s *models.TenantSpec) { s.Disabled = true },
	} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, w *world) {
				a := w.signIn("alice")
				tenant := testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend())
				disable(&tenant)
				w.Clock.Advance(time.Second)
				w.Apply(tenant)
				if r := w.Refresh("", "web", a.Text("refresh_token")); r.Status != 400 && r.Status != 401 {
					t.Errorf("disabled: %d %s", r.Status, r.Body)
				}
				if in := w.Introspect("", a.Text("access_token")); in.JSON["active"] == true {
					t.Errorf("disabled: %s", in.Body)
				}
				w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend()))
				if name == "user" {
					w.Apply(models.TenantSpec{ID: "default", Users: []models.UserSpec{{Sub: "alice"}}})
				}
				w.want(400, refused, w.Refresh("", "web", a.Text("refresh_token"))) // an ended session never comes back
				if w.active(a.Text("access_token")) {
					t.Error("active again")
				}
				w.signIn("alice")
			})
		})
	}
}

func TestRefreshOfOneTokenByManyRotatesOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		token := w.signIn("alice").Text("refresh_token")
		answers := inParallel(64, func(int) *testserver.Answer { return w.Refresh("", "web", token) })
		successor := answers[0].Text("refresh_token")
		for _, a := range answers {
			w.want(200, "", a)
			if a.Text("refresh_token") != successor {
				t.Fatalf("two successors: %s and %s", a.Text("refresh_token"), successor)
			}
		}
		next := w.want(200, "", w.Refresh("", "web", successor)).Text("refresh_token")
		w.want(400, refused, w.Refresh("", "web", token)) // a delayed duplicate
		w.want(200, "", w.Refresh("", "web", next))
	})
}

func TestRefreshDoesNotOutliveARevokeAmongMany(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		first := w.signIn("alice")
		token := first.Text("refresh_token")
		answers := inParallel(64, func(i int) *testserver.Answer {
			if i == 20 {
				return w.Post("/revoke", []string{"client_id", "web", "token", token})
			}
			return w.Refresh("", "web", token)
		})
		w.want(200, "", answers[20])
		for i, a := range answers {
			if i == 20 {
				continue
			}
			if a.Status != 200 && (a.Status != 400 || a.Error() != refused) {
				t.Errorf("%d %s", a.Status, a.Body)
			}
			if a.Status == 200 && w.active(a.Text("access_token")) {
				t.Error("a racing refresh left an active token")
			}
		}
		w.want(400, refused, w.Refresh("", "web", token))
	})
}

func TestRefreshSharedByTwoPartiesIsNoticed(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signIn("alice")
		token, sid := a.Text("refresh_token"), a.Text("session_id")
		for generation := 1; generation <= 3; generation++ {
			mine := w.want(200, "", w.Refresh("", "web", token))
			for range 2 { // once more changes nothing
				w.want(200, "", w.Post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", token}, testserver.Header("User-Agent", "a thief")))
			}
			want := []models.EventType{models.EventSessionCreated, models.EventRefreshElsewhere, models.EventRefreshElsewhere, models.EventRefreshElsewhere}[:generation+1]
			if generation == 3 {
				want = append(want, models.EventRefreshShared)
			}
			if got := w.events(sid); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
				t.Errorf("after %d generations: %v", generation, got)
			}
			token = mine.Text("refresh_token")
		}
	})
}

// inParallel starts all at once and waits for their answers.
func inParallel(n int, do func(i int) *testserver.Answer) []*testserver.Answer {
	answers := make([]*testserver.Answer, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			answers[i] = do(i)
		})
	}
	close(start)
	all.Wait()
	return answers
}
