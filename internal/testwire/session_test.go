package testwire

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// eachSessionDeployment runs a test on SQLite and on PostgreSQL.
func eachSessionDeployment(t *testing.T, test func(t *testing.T, d *testserver.Deployment)) {
	testdb.Each(t, func(t *testing.T, url string) {
		test(t, testserver.NewSessionDeployment(t, testserver.Options{DatabaseURL: url}))
	})
}

// listed returns the ids of a page of sessions.
func listed(d *testserver.Deployment, path string, opts ...testserver.Option) (sids []string, next string) {
	d.T.Helper()
	a := d.Want(200, "", d.Get(path, opts...))
	items, ok := a.JSON["items"].([]any)
	if !ok || len(a.JSON) != 2 {
		d.T.Fatalf("%s", a.Body)
	}
	for _, item := range items {
		sids = append(sids, item.(map[string]any)["id"].(string))
	}
	return sids, a.Text("next_cursor")
}

// reasons returns which sessions were ended on purpose, and why.
func reasons(d *testserver.Deployment, answers ...*testserver.Answer) string {
	d.T.Helper()
	var list []string
	for _, a := range answers {
		row := d.SessionRow("default", a.Text("session_id"))
		list = append(list, string(row.EndReason))
		if told := slices.Contains(d.EventTypes(a.Text("session_id")), models.EventSessionEnded); told == row.EndedAt.IsZero() {
			d.T.Errorf("ended at %v, and the event exists: %t", row.EndedAt, told)
		}
	}
	return strings.Join(list, " ")
}

func TestASessionIsShownInFull(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		begun := d.Clock.Now()
		token := d.Issuer.Token(d.URL, "alice", map[string]any{"amr": []string{"hwk"}, "auth_time": begun.Unix() - 7, "email": "a@example.com", "app": "<shop>"})
		a := d.Want(200, "", d.Post("/token", []string{
			"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT, "subject_token", token, "latchkey_device_name", "Alice's <phone>", "scope", "profile",
		}, testserver.Header("User-Agent", "Browser/1")))
		d.Clock.Advance(95 * time.Second)
		b := d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", a.Text("refresh_token")}, testserver.Header("User-Agent", "Browser/2")))
		idle := d.Clock.Now().Add(5 * 24 * time.Hour).Truncate(time.Minute).Unix()
		want := fmt.Sprintf(`{
			"id": %[1]q, "sub": "alice", "client_id": "web", "status": "active", "current": true,
			"created_at": %[2]d, "auth_time": %[3]d, "last_active_at": %[4]d, "expires_at": %[5]d, "idle_expires_at": %[6]d, "ended_at": null, "end_reason": null,
			"acr": "phr", "acr_times": {"urn:latchkey:acr:1": %[3]d, "phr": %[3]d}, "amr": ["hwk"], "factors": [{"amr": "hwk", "issuer": %[7]q, "auth_time": %[3]d}],
			"device": {"name": "Alice's <phone>", "user_agent": "Browser/2", "ip": "127.0.0.1"},
			"scope": "profile", "attributes": {"app": "<shop>"}, "claims": {"email": "a@example.com", "app": "<shop>"}
		}`, a.Text("session_id"), begun.Unix(), begun.Unix()-7, d.Clock.Now().Truncate(time.Minute).Unix(), begun.Add(30*24*time.Hour).Unix(), idle, d.Issuer.URL)
		got := d.Want(200, "", d.Get("/session", testserver.AsBearer(b)))
		sameJSON(t, got.Body, want)
		if h := got.Header; h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%v", h)
		}
		if strings.ContainsAny(string(got.Body), "<>") {
			t.Errorf("not escaped: %s", got.Body)
		}
		const claims = `, "claims": {"email": "a@example.com", "app": "<shop>"}`
		without := strings.Replace(want, claims, "", 1)
		list := d.Want(200, "", d.Get("/sessions", testserver.AsBearer(b)))
		sameJSON(t, list.Body, `{"items": [`+without+`], "next_cursor": null}`)
		list = d.Want(200, "", d.Get("/sessions?claims=1", testserver.AsBearer(b)))
		sameJSON(t, list.Body, `{"items": [`+want+`], "next_cursor": null}`)
		sameJSON(t, d.Get("/sessions/"+a.Text("session_id"), testserver.AsBearer(b)).Body, want)

		// For the back end it is not the current session, and its claims are those of another client.
		want = strings.Replace(without, `"current": true`, `"current": false`, 1)
		sameJSON(t, d.Want(200, "", d.Get("/sessions?sub=alice&claims=1", testserver.AsSupport())).Body, `{"items": [`+want+`], "next_cursor": null}`)
		sameJSON(t, d.Want(200, "", d.Get("/sessions?sub=alice", testserver.AsSupport())).Body, `{"items": [`+want+`], "next_cursor": null}`)
		sameJSON(t, d.Want(200, "", d.Get("/sessions/"+a.Text("session_id"), testserver.AsSupport())).Body, want)
	})
}

// Without a budget, thirteen claims over two hundred roles, for twenty sessions, would
// take a fifth of a second.
func TestAListOfSessionsEvaluatesClaimsWithinABudget(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.SQLite(t)})
	web := testserver.Web()
	web.Claims = map[string]string{}
	for i := range 13 {
		web.Claims["c"+strconv.Itoa(i)] = "user.roles.filter(r, r.startsWith('role-1')).size()"
	}
	tenant := testserver.Tenant("default", d.Issuer, web)
	tenant.TrustedIssuers[0].UserAttributes = map[string]string{"roles": "token.roles"}
	d.Apply(tenant)
	var roles []string
	for i := range 200 {
		roles = append(roles, "role-"+strconv.Itoa(i))
	}
	for range 25 {
		d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", map[string]any{"roles": roles})))
		d.Clock.Advance(time.Second)
	}
	last := d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", map[string]any{"roles": roles})))
	seen, pages, next := 0, 0, ""
	for {
		a := d.Want(200, "", d.Get("/sessions?claims=1"+next, testserver.AsBearer(last)))
		items, _ := a.JSON["items"].([]any)
		if len(items) == 0 || len(items) >= 20 {
			t.Fatalf("a page has %d sessions", len(items))
		}
		for _, item := range items {
			if claims, _ := item.(map[string]any)["claims"].(map[string]any); seen == 0 && len(claims) != 13 {
				t.Errorf("the first session has the claims %v", claims)
			}
			seen++
		}
		pages++
		cursor, more := a.JSON["next_cursor"].(string)
		if !more {
			break
		}
		next = "&cursor=" + cursor
	}
	if seen != 26 || pages < 3 {
		t.Errorf("%d sessions on %d pages", seen, pages)
	}
	d.Want(400, "invalid_request", d.Get("/sessions?claims=1&limit=21", testserver.AsBearer(last)))
	d.Want(400, "invalid_request", d.Get("/sessions?claims=yes", testserver.AsBearer(last)))
}

func TestMissingValuesOfASessionAreNullOrEmpty(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		client := testserver.Web()
		client.InactivityTimeout, client.Scopes = testserver.Duration(-1), nil
		d.Apply(testserver.Tenant("default", d.Issuer, client))
		o := d.Want(200, "", d.Get("/session", testserver.AsBearer(d.SignIn("alice")))).JSON
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

func TestReadingASessionDoesNotCountAsActivity(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		a, b := d.SignIn("alice"), d.SignInAtBackend("alice")
		handle := testserver.Authorization("Bearer " + b.Text("session_token"))
		d.Clock.Advance(time.Minute)
		before := d.Written()
		for _, bearer := range []testserver.Option{testserver.AsBearer(a), testserver.AsBearer(b), handle} {
			for _, path := range []string{"/session", "/sessions", "/sessions/" + a.Text("session_id"), "/userinfo"} {
				d.Want(200, "", d.Get(path, bearer))
			}
		}
		d.Want(200, "", d.Get("/sessions?sub=alice", testserver.AsSupport()))
		d.WantUnchanged(t, before)
	})
}

func TestSessionsAreListedNewestFirstAndPageByPage(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		idle := d.SignIn("alice")
		d.Clock.Advance(5 * 24 * time.Hour)
		var live []*testserver.Answer
		for i := range 7 {
			live = append(live, d.SignInAt([]string{"web", "tv"}[i%2], "alice"))
			if i == 2 {
				d.Clock.Advance(time.Second) // the others have the same age
			}
		}
		backend := d.SignInAtBackend("alice")
		signedOut, bob := d.SignIn("alice"), d.SignIn("bob")
		d.Want(204, "", d.Delete("/session", testserver.AsBearer(signedOut)))

		all, next := listed(d, "/sessions", testserver.AsBearer(live[0]))
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
				sids, next := listed(d, "/sessions?limit="+limit+"&cursor="+cursor, testserver.AsBearer(live[0]))
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
			// A back end sees the same, for all clients of the tenant.
			if sids, _ := listed(d, "/sessions?sub=alice&limit="+limit, testserver.AsSupport()); !slices.Equal(sids, all[:len(sids)]) {
				t.Errorf("the back end sees %v", sids)
			}
		}
		if sids, _ := listed(d, "/sessions?sub=nobody", testserver.AsSupport()); len(sids) != 0 {
			t.Errorf("nobody has %v", sids)
		}
		// A session that begins or ends between two pages does not shift the others.
		first, next := listed(d, "/sessions?limit=3", testserver.AsBearer(live[0]))
		d.Clock.Advance(time.Second)
		d.SignIn("alice")
		d.Want(204, "", d.Delete("/sessions/"+first[2], testserver.AsBearer(live[0])))
		if second, _ := listed(d, "/sessions?cursor="+next, testserver.AsBearer(live[0])); !slices.Equal(second, all[3:]) {
			t.Errorf("the second page is %v, want %v", second, all[3:])
		}
	})
}

func TestAPageHasFiftySessions(t *testing.T) {
	d := testserver.NewSessionDeployment(t, testserver.OnSQLite(t))
	for range 52 {
		d.SignIn("alice")
	}
	a := d.SignIn("alice")
	first, next := listed(d, "/sessions", testserver.AsBearer(a))
	if second, end := listed(d, "/sessions?cursor="+next, testserver.AsBearer(a)); len(first) != 50 || len(second) != 3 || end != "" {
		t.Errorf("pages of %d and %d", len(first), len(second))
	}
}

func equalSets(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

func TestSigningOutIsEffectiveBeforeTheResponse(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		a, other, b := d.SignIn("alice"), d.SignInAt("tv", "alice"), d.SignInAtBackend("bob")
		a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		handle := testserver.Authorization("Bearer " + b.Text("session_token"))
		elsewhere := d.OtherNode()
		if answer := d.Want(204, "", d.Delete("/session", testserver.AsBearer(a))); len(answer.Body) != 0 || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%q %v", answer.Body, answer.Header)
		}
		d.Want(204, "", d.Delete("/session", handle))
		for _, node := range []*testserver.Deployment{d, elsewhere} {
			node.Want(401, "invalid_token", node.Get("/session", testserver.AsBearer(a)))
			node.Want(401, "invalid_token", node.Delete("/session", testserver.AsBearer(a)))
			node.Want(401, "invalid_token", node.Get("/session", handle))
			node.Want(401, "invalid_token", node.Get("/userinfo", testserver.AsBearer(b)))
			node.Want(400, testserver.InvalidGrant, node.Refresh("", "web", a.Text("refresh_token")))
			if node.Active(a.Text("access_token")) || node.Active(b.Text("session_token")) {
				t.Error("it is still active")
			}
			node.Want(200, "", node.Get("/session", testserver.AsBearer(other)))
		}
		if got := reasons(d, a, other, b); got != "signed_out  signed_out" {
			t.Errorf("ended: %q", got)
		}
	})
}

func TestAUserEndsOneOfTheirSessions(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))
		acme := d.Want(200, "", d.Exchange("/t/acme", "web", d.Issuer.Token(d.URL+"/t/acme", "alice", nil)))
		mine, tv, bob := d.SignIn("alice"), d.SignInAt("tv", "alice"), d.SignIn("bob")
		d.Want(204, "", d.Delete("/sessions/"+tv.Text("session_id"), testserver.AsBearer(mine)))
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "tv", tv.Text("refresh_token")))
		d.Clock.Advance(time.Minute)
		before := d.Written()
		d.Want(204, "", d.Delete("/sessions/"+tv.Text("session_id"), testserver.AsBearer(mine))) // without effect
		for name, sid := range map[string]string{
			"another user's": bob.Text("session_id"), "another tenant's": acme.Text("session_id"), "nobody's": models.NewSessionID().String(),
			"one in another spelling": mine.Text("session_id") + "=", "no id": "x", "a percent sign": "%25", "NUL": "%00", "a slash": "%2F",
		} {
			for _, a := range []*testserver.Answer{d.Delete("/sessions/"+sid, testserver.AsBearer(mine)), d.Get("/sessions/"+sid, testserver.AsBearer(mine))} {
				if a.Status != 404 || a.Error() != "not_found" || a.Header.Get("WWW-Authenticate") != "" {
					t.Errorf("%s: %d %s", name, a.Status, a.Body)
				}
			}
		}
		d.WantUnchanged(t, before)
		ended := d.Want(200, "", d.Get("/sessions/"+tv.Text("session_id"), testserver.AsBearer(mine)))
		if ended.Text("status") != "ended" || ended.Text("end_reason") != "revoked_by_user" || ended.JSON["ended_at"] != float64(d.Clock.Now().Unix()-60) {
			t.Errorf("%s", ended.Body)
		}
		d.Want(204, "", d.Delete("/sessions/"+mine.Text("session_id"), testserver.AsBearer(mine)))
		d.Want(401, "invalid_token", d.Get("/session", testserver.AsBearer(mine)))
	})
}

func TestAUserEndsTheirOtherSessionsOrAll(t *testing.T) {
	for scope, want := range map[string]string{
		"others": " revoked_by_user revoked_by_user  reuse_detected", "all": "signed_out revoked_by_user revoked_by_user  reuse_detected",
	} {
		t.Run(scope, func(t *testing.T) {
			eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
				over := d.SignIn("alice")
				mine, web, backend, bob := d.SignInAt("tv", "alice"), d.SignIn("alice"), d.SignInAtBackend("alice"), d.SignIn("bob")
				second := d.Want(200, "", d.Refresh("", "web", over.Text("refresh_token")))
				d.Want(200, "", d.Refresh("", "web", second.Text("refresh_token"))) // otherwise it would be a late retry
				d.Clock.Advance(time.Minute)
				d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", over.Text("refresh_token"))) // ended by reuse
				d.Want(204, "", d.Delete("/sessions?scope="+scope, testserver.AsBearer(mine)))
				if got := reasons(d, mine, web, backend, bob, over); got != want {
					t.Errorf("ended: %q, want %q", got, want)
				}
				d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", web.Text("refresh_token")))
				d.Want(200, "", d.Refresh("", "web", bob.Text("refresh_token")))
				if left, status := scope == "others", d.Get("/session", testserver.AsBearer(mine)).Status; left != (status == 200) {
					t.Errorf("the bearer's own returned status %d", status)
				}
				d.Want(200, "", d.Get("/session", testserver.AsBearer(d.SignIn("alice"))))
			})
		})
	}
}

func TestAnExpiredSessionKeepsItsReason(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		idle := d.SignIn("alice")
		d.Clock.Advance(5*24*time.Hour + time.Minute)
		mine := d.SignIn("alice")
		d.Want(204, "", d.Delete("/sessions?scope=all", testserver.AsBearer(mine)))
		mine = d.SignIn("alice")
		d.Want(204, "", d.Delete("/sessions/"+idle.Text("session_id"), testserver.AsBearer(mine)))
		d.Want(204, "", d.Delete("/sessions/"+idle.Text("session_id"), testserver.AsSupport()))
		o := d.Want(200, "", d.Get("/sessions/"+idle.Text("session_id"), testserver.AsSupport()))
		if o.Text("status") != "ended" || o.Text("end_reason") != "idle" || o.JSON["ended_at"] != o.JSON["created_at"].(float64)+5*24*3600 {
			t.Errorf("%s", o.Body)
		}
	})
}

func TestSessionsOfDisabledUsersAreShownAsEnded(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*settings.TenantSpec)
		why    string
	}{
		"client":         {func(s *settings.TenantSpec) { s.Clients[0].Disabled = true }, "client_disabled"},
		"issuer":         {func(s *settings.TenantSpec) { s.TrustedIssuers[0].Disabled = true }, "issuer_disabled"},
		"user":           {func(s *settings.TenantSpec) { s.Users = []settings.UserSpec{{Sub: "alice", Disabled: true}} }, "user_disabled"},
		"removed client": {func(s *settings.TenantSpec) { s.Clients = s.Clients[1:] }, "client_disabled"},
		"removed issuer": {func(s *settings.TenantSpec) { s.TrustedIssuers = nil }, "issuer_disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
				a := d.SignIn("alice")
				tenant := testserver.SessionTenant(d.Issuer)
				c.change(&tenant)
				d.Prune(tenant) // five seconds ago
				d.Want(401, "invalid_token", d.Get("/session", testserver.AsBearer(a)))
				d.Want(401, "invalid_token", d.Get("/userinfo", testserver.AsBearer(a)))
				d.Want(401, "invalid_token", d.Delete("/sessions?scope=all", testserver.AsBearer(a)))
				o := d.Want(200, "", d.Get("/sessions/"+a.Text("session_id"), testserver.AsSupport()))
				if o.Text("status") != "ended" || o.Text("end_reason") != c.why {
					t.Errorf("%s", o.Body)
				}
				if at := o.JSON["ended_at"]; at != float64(d.Clock.Now().Unix()-5) && (at != nil || !strings.HasPrefix(name, "removed")) {
					t.Errorf("ended at %v", at)
				}
				if sids, _ := listed(d, "/sessions?sub=alice", testserver.AsSupport()); len(sids) != 0 {
					t.Errorf("listed: %v", sids)
				}
			})
		})
	}
}
