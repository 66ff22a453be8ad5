package handlers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

const supportSecret = "the-secret-of-a-back-end-that-manages-sessions"

// sessionTenant has the clients web, with claims and sessions that can be
// extended, tv, backend, and support, a back end that manages sessions.
func sessionTenant(issuer *testserver.Issuer) models.TenantSpec {
	web, tv := testserver.Web(), testserver.Web()
	web.Claims = map[string]string{"email": "user.email", "app": "session.app", "none": "user.none"}
	web.MaxLifetime = duration(60 * 24 * time.Hour)
	tv.ID, tv.Origins = "tv", nil
	support := models.ClientSpec{ID: "support", Secret: supportSecret, ClientSettings: models.ClientSettings{Auth: models.AuthSecret, ManageSessions: true}}
	tenant := testserver.Tenant("default", issuer, web, tv, testserver.Backend(), support)
	tenant.TrustedIssuers[0].UserAttributes = map[string]string{"email": "token.email"}
	tenant.TrustedIssuers[0].SessionAttributes = map[string]string{"app": "token.app"}
	return tenant
}

func newSessionWorld(t *testing.T, o testserver.Options) *world {
	w := newWorld(t, o)
	w.Apply(sessionTenant(w.issuer))
	return w
}

// eachSessionWorld runs a test on SQLite and on PostgreSQL.
func eachSessionWorld(t *testing.T, test func(t *testing.T, w *world)) {
	testdb.Each(t, func(t *testing.T, url string) { test(t, newSessionWorld(t, testserver.Options{DatabaseURL: url})) })
}

// signInAt exchanges a fresh client token at a public client.
func (w *world) signInAt(client, sub string, extra ...string) *testserver.Answer {
	w.t.Helper()
	return w.want(200, "", w.Exchange("", client, w.issuer.Token(w.URL, sub, nil), extra...))
}

// as sends the access token of an answer.
func as(a *testserver.Answer) testserver.Option {
	return authorization("Bearer " + a.Text("access_token"))
}

func asSupport() testserver.Option { return testserver.Basic("support", supportSecret) }

func (w *world) delete(path string, opts ...testserver.Option) *testserver.Answer {
	w.t.Helper()
	return w.Do(http.MethodDelete, path, nil, opts...)
}

// listed are the ids of a page of sessions.
func (w *world) listed(path string, opts ...testserver.Option) (sids []string, next string) {
	w.t.Helper()
	a := w.want(200, "", w.Get(path, opts...))
	items, ok := a.JSON["items"].([]any)
	if !ok || len(a.JSON) != 2 {
		w.t.Fatalf("%s", a.Body)
	}
	for _, item := range items {
		sids = append(sids, item.(map[string]any)["id"].(string))
	}
	return sids, a.Text("next_cursor")
}

// reasons says which sessions have ended on purpose, and why.
func (w *world) reasons(answers ...*testserver.Answer) string {
	w.t.Helper()
	var list []string
	for _, a := range answers {
		row := w.session("default", a.Text("session_id"))
		list = append(list, string(row.EndReason))
		if told := slices.Contains(w.events(a.Text("session_id")), models.EventSessionEnded); told == row.EndedAt.IsZero() {
			w.t.Errorf("ended at %v, and the event is there: %t", row.EndedAt, told)
		}
	}
	return strings.Join(list, " ")
}

func TestASessionIsShownWhole(t *testing.T) {
	eachSessionWorld(t, func(t *testing.T, w *world) {
		begun := w.Clock.Now()
		token := w.issuer.Token(w.URL, "alice", map[string]any{"amr": []string{"hwk"}, "auth_time": begun.Unix() - 7, "email": "a@example.com", "app": "<shop>"})
		a := w.want(200, "", w.Post("/token", []string{
			"grant_type", tokenExchange, "client_id", "web", "subject_token_type", ofJWT, "subject_token", token, "latchkey_device_name", "Alice's <phone>", "scope", "profile",
		}, testserver.Header("User-Agent", "Browser/1")))
		w.Clock.Advance(95 * time.Second)
		b := w.want(200, "", w.Post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", a.Text("refresh_token")}, testserver.Header("User-Agent", "Browser/2")))
		idle := w.Clock.Now().Add(5 * 24 * time.Hour).Truncate(time.Minute).Unix()
		want := fmt.Sprintf(`{
			"id": %q, "sub": "alice", "client_id": "web", "status": "active", "current": true,
			"created_at": %d, "auth_time": %d, "last_active_at": %d, "expires_at": %d, "idle_expires_at": %d, "ended_at": null, "end_reason": null,
			"acr": "phr", "amr": ["hwk"], "factors": [{"amr": "hwk", "issuer": %q, "auth_time": %d}],
			"device": {"name": "Alice's <phone>", "user_agent": "Browser/2", "ip": "127.0.0.1"},
			"scope": "profile", "attributes": {"app": "<shop>"}, "claims": {"email": "a@example.com", "app": "<shop>"}
		}`, a.Text("session_id"), begun.Unix(), begun.Unix()-7, w.Clock.Now().Truncate(time.Minute).Unix(), begun.Add(30*24*time.Hour).Unix(), idle, w.issuer.URL, begun.Unix()-7)
		got := w.want(200, "", w.Get("/session", as(b)))
		sameJSON(t, got.Body, want)
		if h := got.Header; h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%v", h)
		}
		if strings.ContainsAny(string(got.Body), "<>") {
			t.Errorf("not escaped: %s", got.Body)
		}
		list := w.want(200, "", w.Get("/sessions", as(b)))
		sameJSON(t, list.Body, `{"items": [`+want+`], "next_cursor": null}`)
		sameJSON(t, w.Get("/sessions/"+a.Text("session_id"), as(b)).Body, want)

		// To the back end it is nobody's own.
		want = strings.Replace(want, `"current": true`, `"current": false`, 1)
		sameJSON(t, w.want(200, "", w.Get("/sessions?sub=alice", asSupport())).Body, `{"items": [`+want+`], "next_cursor": null}`)
		sameJSON(t, w.want(200, "", w.Get("/sessions/"+a.Text("session_id"), asSupport())).Body, want)
	})
}

func TestWhatASessionLacksIsNullOrEmpty(t *testing.T) {
	eachSessionWorld(t, func(t *testing.T, w *world) {
		client := testserver.Web()
		client.InactivityTimeout, client.Scopes = duration(-1), nil
		w.Apply(testserver.Tenant("default", w.issuer, client))
		o := w.want(200, "", w.Get("/session", as(w.signIn("alice")))).JSON
		for name, want := range map[string]any{
			"idle_expires_at": nil, "acr": nil, "amr": []any{}, "factors": []any{}, "scope": "", "attributes": map[string]any{}, "claims": map[string]any{},
		} {
			if got, present := o[name]; !present || !reflect.DeepEqual(got, want) {
				t.Errorf("%s is %v", name, got)
			}
		}
	})
}

// sameJSON compares JSON.
func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatalf("%v: %s", err, want)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestReadingASessionIsNoActivity(t *testing.T) {
	eachSessionWorld(t, func(t *testing.T, w *world) {
		a, b := w.signIn("alice"), w.signInAtBackend("alice")
		handle := authorization("Bearer " + b.Text("session_token"))
		w.Clock.Advance(time.Minute)
		before := w.written()
		for _, bearer := range []testserver.Option{as(a), as(b), handle} {
			for _, path := range []string{"/session", "/sessions", "/sessions/" + a.Text("session_id"), "/userinfo"} {
				w.want(200, "", w.Get(path, bearer))
			}
		}
		w.want(200, "", w.Get("/sessions?sub=alice", asSupport()))
		w.same(t, before)
	})
}

func TestSessionsAreListedNewestFirstAndPageByPage(t *testing.T) {
	eachSessionWorld(t, func(t *testing.T, w *world) {
		idle := w.signIn("alice")
		w.Clock.Advance(5 * 24 * time.Hour)
		var live []*testserver.Answer
		for i := range 7 {
			live = append(live, w.signInAt([]string{"web", "tv"}[i%2], "alice"))
			if i == 2 {
				w.Clock.Advance(time.Second) // the others are as old as each other
			}
		}
		backend := w.signInAtBackend("alice")
		signedOut, bob := w.signIn("alice"), w.signIn("bob")
		w.want(204, "", w.delete("/session", as(signedOut)))

		all, next := w.listed("/sessions", as(live[0]))
		if next != "" {
			t.Error("there is more than all")
		}
		of := func(answers []*testserver.Answer) (sids []string) {
			for _, a := range answers {
				sids = append(sids, a.Text("session_id"))
			}
			return sids
		}
		newer, older := of(append(live[3:], backend)), of(live[:3])
		if len(all) != 8 || !equalSets(all[:5], newer) || !equalSets(all[5:], older) {
			t.Fatalf("listed %v, want %v and then %v", all, newer, older)
		}
		for _, gone := range []*testserver.Answer{idle, signedOut, bob} {
			if slices.Contains(all, gone.Text("session_id")) {
				t.Errorf("%s is listed", gone.Text("session_id"))
			}
		}
		for _, limit := range []string{"1", "2", "3", "4", "7", "8", "200"} {
			var pages []string
			for cursor := ""; ; {
				sids, next := w.listed("/sessions?limit="+limit+"&cursor="+cursor, as(live[0]))
				if fmt.Sprint(len(sids)) != limit && next != "" {
					t.Errorf("a page of %d, limit %s", len(sids), limit)
				}
				pages, cursor = append(pages, sids...), next
				if next == "" {
					break
				}
			}
			if !slices.Equal(pages, all) {
				t.Errorf("by %s: %v, want %v", limit, pages, all)
			}
			// A back end sees the same, all clients of the tenant.
			if sids, _ := w.listed("/sessions?sub=alice&limit="+limit, asSupport()); !slices.Equal(sids, all[:len(sids)]) {
				t.Errorf("the back end sees %v", sids)
			}
		}
		if sids, _ := w.listed("/sessions?sub=nobody", asSupport()); len(sids) != 0 {
			t.Errorf("nobody has %v", sids)
		}
		// A session that begins or ends between two pages moves no other.
		first, next := w.listed("/sessions?limit=3", as(live[0]))
		w.Clock.Advance(time.Second)
		w.signIn("alice")
		w.want(204, "", w.delete("/sessions/"+first[2], as(live[0])))
		if second, _ := w.listed("/sessions?cursor="+next, as(live[0])); !slices.Equal(second, all[3:]) {
			t.Errorf("the second page is %v, want %v", second, all[3:])
		}
	})
}

func TestAPageHoldsFiftySessions(t *testing.T) {
	w := newSessionWorld(t, sqlite(t))
	for range 52 {
		w.signIn("alice")
	}
	a := w.signIn("alice")
	first, next := w.listed("/sessions", as(a))
	if second, end := w.listed("/sessions?cursor="+next, as(a)); len(first) != 50 || len(second) != 3 || end != "" {
		t.Errorf("pages of %d and %d", len(first), len(second))
	}
}

func equalSets(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

func TestSigningOutIsEffectiveBeforeTheAnswer(t *testing.T) {
	eachSessionWorld(t, func(t *testing.T, w *world) {
		a, other, b := w.signIn("alice"), w.signInAt("tv", "alice"), w.signInAtBackend("bob")
		a = w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
		handle := authorization("Bearer " + b.Text("session_token"))
		elsewhere := w.otherNode()
		if answer := w.want(204, "", w.delete("/session", as(a))); len(answer.Body) != 0 || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%q %v", answer.Body, answer.Header)
		}
		w.want(204, "", w.delete("/session", handle))
		for _, node := range []*world{w, elsewhere} {
			node.want(401, "invalid_token", node.Get("/session", as(a)))
			node.want(401, "invalid_token", node.delete("/session", as(a)))
			node.want(401, "invalid_token", node.Get("/session", handle))
			node.want(401, "invalid_token", node.Get("/userinfo", as(b)))
			node.want(400, refused, node.Refresh("", "web", a.Text("refresh_token")))
			if node.active(a.Text("access_token")) || node.active(b.Text("session_token")) {
				t.Error("it is still active")
			}
			node.want(200, "", node.Get("/session", as(other)))
		}
		if got := w.reasons(a, other, b); got != "signed_out  signed_out" {
			t.Errorf("ended: %q", got)
		}
	})
}

func TestAUserEndsOneOfTheirSessions(t *testing.T) {
	eachSessionWorld(t, func(t *testing.T, w *world) {
		w.Apply(testserver.Tenant("acme", w.issuer, testserver.Web()))
		acme := w.want(200, "", w.Exchange("/t/acme", "web", w.issuer.Token(w.URL+"/t/acme", "alice", nil)))
		mine, tv, bob := w.signIn("alice"), w.signInAt("tv", "alice"), w.signIn("bob")
		w.want(204, "", w.delete("/sessions/"+tv.Text("session_id"), as(mine)))
		w.want(400, refused, w.Refresh("", "tv", tv.Text("refresh_token")))
		w.Clock.Advance(time.Minute)
		before := w.written()
		w.want(204, "", w.delete("/sessions/"+tv.Text("session_id"), as(mine))) // and stays as it is
		for name, sid := range map[string]string{
			"another user's": bob.Text("session_id"), "another tenant's": acme.Text("session_id"), "nobody's": models.NewSessionID().String(),
			"one in another spelling": mine.Text("session_id") + "=", "no id": "x", "a percent sign": "%25", "NUL": "%00", "a slash": "%2F",
		} {
			for _, a := range []*testserver.Answer{w.delete("/sessions/"+sid, as(mine)), w.Get("/sessions/"+sid, as(mine))} {
				if a.Status != 404 || a.Error() != "not_found" || a.Header.Get("WWW-Authenticate") != "" {
					t.Errorf("%s: %d %s", name, a.Status, a.Body)
				}
			}
		}
		w.same(t, before)
		ended := w.want(200, "", w.Get("/sessions/"+tv.Text("session_id"), as(mine)))
		if ended.Text("status") != "ended" || ended.Text("end_reason") != "signed_out" || ended.JSON["ended_at"] != float64(w.Clock.Now().Unix()-60) {
			t.Errorf("%s", ended.Body)
		}
		w.want(204, "", w.delete("/sessions/"+mine.Text("session_id"), as(mine)))
		w.want(401, "invalid_token", w.Get("/session", as(mine)))
	})
}

func TestAUserEndsTheirOtherSessionsOrAll(t *testing.T) {
	for scope, want := range map[string]string{
		"others": " signed_out signed_out  reuse_detected", "all": "signed_out signed_out signed_out  reuse_detected",
	} {
		t.Run(scope, func(t *testing.T) {
			eachSessionWorld(t, func(t *testing.T, w *world) {
				over := w.signIn("alice")
				mine, web, backend, bob := w.signInAt("tv", "alice"), w.signIn("alice"), w.signInAtBackend("alice"), w.signIn("bob")
				w.want(200, "", w.Refresh("", "web", over.Text("refresh_token")))
				w.Clock.Advance(time.Minute)
				w.want(400, refused, w.Refresh("", "web", over.Text("refresh_token"))) // ended by reuse
				w.want(204, "", w.delete("/sessions?scope="+scope, as(mine)))
				if got := w.reasons(mine, web, backend, bob, over); got != want {
					t.Errorf("ended: %q, want %q", got, want)
				}
				w.want(400, refused, w.Refresh("", "web", web.Text("refresh_token")))
				w.want(200, "", w.Refresh("", "web", bob.Text("refresh_token")))
				if left, status := scope == "others", w.Get("/session", as(mine)).Status; left != (status == 200) {
					t.Errorf("the bearer's own is answered %d", status)
				}
				w.want(200, "", w.Get("/session", as(w.signIn("alice"))))
			})
		})
	}
}

func TestAnExpiredSessionKeepsItsReason(t *testing.T) {
	eachSessionWorld(t, func(t *testing.T, w *world) {
		idle := w.signIn("alice")
		w.Clock.Advance(5*24*time.Hour + time.Minute)
		mine := w.signIn("alice")
		w.want(204, "", w.delete("/sessions?scope=all", as(mine)))
		mine = w.signIn("alice")
		w.want(204, "", w.delete("/sessions/"+idle.Text("session_id"), as(mine)))
		w.want(204, "", w.delete("/sessions/"+idle.Text("session_id"), asSupport()))
		o := w.want(200, "", w.Get("/sessions/"+idle.Text("session_id"), asSupport()))
		if o.Text("status") != "ended" || o.Text("end_reason") != "idle" || o.JSON["ended_at"] != o.JSON["created_at"].(float64)+5*24*3600 {
			t.Errorf("%s", o.Body)
		}
	})
}

func TestSessionsOfTheDisabledAreShownToBeOver(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*models.TenantSpec)
		why    string
	}{
		"client":         {func(s *models.TenantSpec) { s.Clients[0].Disabled = true }, "client_disabled"},
		"issuer":         {func(s *models.TenantSpec) { s.TrustedIssuers[0].Disabled = true }, "issuer_disabled"},
		"user":           {func(s *models.TenantSpec) { s.Users = []models.UserSpec{{Sub: "alice", Disabled: true}} }, "user_disabled"},
		"removed client": {func(s *models.TenantSpec) { s.Clients = s.Clients[1:] }, "client_disabled"},
		"removed issuer": {func(s *models.TenantSpec) { s.TrustedIssuers = nil }, "issuer_disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			eachSessionWorld(t, func(t *testing.T, w *world) {
				a := w.signIn("alice")
				tenant := sessionTenant(w.issuer)
				c.change(&tenant)
				w.prune(tenant) // five seconds ago
				w.want(401, "invalid_token", w.Get("/session", as(a)))
				w.want(401, "invalid_token", w.Get("/userinfo", as(a)))
				w.want(401, "invalid_token", w.delete("/sessions?scope=all", as(a)))
				o := w.want(200, "", w.Get("/sessions/"+a.Text("session_id"), asSupport()))
				if o.Text("status") != "ended" || o.Text("end_reason") != c.why {
					t.Errorf("%s", o.Body)
				}
				if at := o.JSON["ended_at"]; at != float64(w.Clock.Now().Unix()-5) && (at != nil || !strings.HasPrefix(name, "removed")) {
					t.Errorf("ended at %v", at)
				}
				if sids, _ := w.listed("/sessions?sub=alice", asSupport()); len(sids) != 0 {
					t.Errorf("listed: %v", sids)
				}
			})
		})
	}
}
