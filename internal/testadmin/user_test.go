package testadmin

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

func TestAttributesBecomeClaimsOfTheNextToken(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		want(t, 200, d.call(t, d.admin, "PATCH", "/tenants/default/clients/web", object{"claims": object{"plan": "user.?plan.orValue('free')"}}))
		d.reload(t)
		want(t, 201, d.call(t, d.admin, "PUT", "/tenants/default/users/alice", object{"attributes": object{"plan": "pro"}}))
		a := d.SignIn("alice")
		if plan := testserver.Claims(t, a)["plan"]; plan != "pro" {
			t.Errorf("after an exchange plan is %v", plan)
		}
		want(t, 200, d.call(t, d.admin, "PATCH", "/tenants/default/users/alice", object{"attributes": object{"plan": "team"}}))
		d.Clock.Advance(1e9)
		a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		if plan := testserver.Claims(t, a)["plan"]; plan != "team" {
			t.Errorf("after a refresh plan is %v", plan)
		}
		want(t, 200, d.call(t, d.admin, "PATCH", "/tenants/default/users/alice", object{"attributes": object{"plan": nil}}))
		a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		if plan := testserver.Claims(t, a)["plan"]; plan != "free" {
			t.Errorf("after the attribute was removed plan is %v", plan)
		}
	})
}

func TestAttributesOfTheFileAreKept(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		d.applyFile(t)
		const path = "/tenants/owned/users/zoe"
		for _, c := range []struct {
			method string
			plan   any
		}{{"PUT", "free"}, {"PATCH", "free"}, {"PATCH", nil}} {
			wantProblem(t, c.method, 409, "managed_by_file", d.call(t, d.admin, c.method, path, object{"attributes": object{"plan": c.plan}}))
		}
		wantProblem(t, "disabled", 409, "managed_by_file", d.call(t, d.admin, "PATCH", path, object{"disabled": true}))
		wantProblem(t, "delete", 409, "managed_by_file", d.call(t, d.admin, "DELETE", path, nil))
		want(t, 200, d.call(t, d.admin, "PATCH", path, object{"attributes": object{"team": "a"}}))
		a := want(t, 200, d.call(t, d.admin, "PUT", path, object{"attributes": object{"city": "Ghent"}}))
		if got := jsonOf(a.JSON["attributes"]); got != `{"city":"Ghent","plan":"pro"}` {
			t.Errorf("attributes %s", got)
		}
		if got := jsonOf(a.JSON["status"].(object)["attributes_by"]); got != `{"city":"operator","plan":"file"}` {
			t.Errorf("set by %s", got)
		}
	})
}

func TestAnySubCanBeNamedInAPath(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		for _, sub := range []string{"a/b", "a b", "a%2fb", "a+b", "auth0|5f7c", "https://id.example.com/users/1?x=y#z", "a;b", "a&b=c", `"quoted"`, "sessions", "suspend", "a@b.example"} {
			path := "/tenants/default/users/" + url.PathEscape(sub)
			a := d.call(t, d.admin, "PUT", path, object{"sub": sub, "attributes": object{"is": sub}})
			if a.Status != 201 || a.Text("sub") != sub {
				t.Errorf("PUT %s: status %d %s", path, a.Status, a.Body)
				continue
			}
			signedIn := d.SignIn(sub)
			if got := testserver.Claims(t, signedIn)["sub"]; got != sub {
				t.Errorf("%q signs in as %v", sub, got)
			}
			a = want(t, 200, d.call(t, d.viewer, "GET", path, nil))
			if a.JSON["status"].(object)["sessions"] != float64(1) {
				t.Errorf("%q has %v", sub, a.JSON["status"])
			}
			found := want(t, 200, d.call(t, d.support, "GET", "/tenants/default/sessions?user="+url.QueryEscape(sub), nil)).JSON["items"].([]any)
			if len(found) != 1 || found[0].(object)["user"] != sub {
				t.Errorf("the sessions of %q: %v", sub, found)
			}
			if users := want(t, 200, d.call(t, d.support, "GET", "/tenants/default/users?q="+url.QueryEscape(sub), nil)).JSON["items"].([]any); len(users) == 0 || users[0].(object)["sub"] != sub {
				t.Errorf("the users that begin with %q: %v", sub, users)
			}
			if n := want(t, 200, d.call(t, d.support, "DELETE", path+"/sessions", nil)).JSON["ended"]; n != float64(1) {
				t.Errorf("%v sessions of %q ended", n, sub)
			}
			want(t, 200, d.call(t, d.admin, "DELETE", path, nil))
			wantProblem(t, sub, 404, "not_found", d.call(t, d.viewer, "GET", path, nil))
		}
	})
}

func TestASubThatNoTokenMayHaveIsRefused(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		before := d.Stored("users")
		for _, sub := range []string{"ålïçé", "😀", "a\nb", strings.Repeat("a", 256), "backend"} {
			a := d.call(t, d.admin, "PUT", "/tenants/default/users/"+url.PathEscape(sub), object{"attributes": object{}})
			wantProblem(t, sub, 400, "invalid_request", a)
		}
		if d.Stored("users") != before {
			t.Error("a refused request has created a user")
		}
	})
}

func TestDeletingAUserLeavesAPseudonym(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		const sub, city = "zelda.personal@example.com", "Personal City"
		path := "/tenants/default/users/" + sub
		want(t, 201, d.call(t, d.admin, "PUT", path, object{"attributes": object{"city": city}}))
		claims := d.Issuer.Claims(d.URL, sub)
		a := d.Want(200, "", d.Exchange("", "web", d.Issuer.Sign(claims), "latchkey_device_name", "Zelda's phone"))
		want(t, 200, d.call(t, d.admin, "PATCH", "/tenants/default/sessions/"+a.Text("session_id"), object{"attributes": object{"org": "acme"}}))
		done := want(t, 200, d.call(t, d.admin, "DELETE", path, nil))
		if done.JSON["sessions"] != float64(1) || done.Text("pseudonym") == "" {
			t.Errorf("deleted: %s", done.Body)
		}
		d.Want(400, "invalid_grant", d.Refresh("", "web", a.Text("refresh_token")))
		stored := d.Stored("users", "events")
		for _, text := range []string{sub, city, "Zelda"} {
			if strings.Contains(stored, text) {
				t.Errorf("%q is still stored: %s", text, lines(stored, text))
			}
		}
		events := want(t, 200, d.call(t, d.viewer, "GET", "/tenants/default/events?user="+url.QueryEscape(done.Text("pseudonym")), nil)).JSON["items"].([]any)
		if len(events) == 0 {
			t.Error("no event has the pseudonym")
		}
		wantProblem(t, "again", 404, "not_found", d.call(t, d.admin, "DELETE", path, nil))
	})
}

func TestOnlyAHigherRoleLiftsASuspension(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		ranks := []string{d.support, d.admin, d.owner}
		for by, suspender := range ranks {
			for lifter, key := range ranks {
				path := "/tenants/default/users/" + string(rune('a'+by)) + string(rune('a'+lifter))
				want(t, 200, d.call(t, suspender, "POST", path+"/suspend", object{"reason": "a test"}))
				a := d.call(t, key, "POST", path+"/resume", nil)
				may := lifter >= by
				if may && a.Status != 200 || !may && a.Status != 403 {
					t.Errorf("suspended by %d, resumed by %d: status %d %s", by, lifter, a.Status, a.Body)
				}
			}
		}
		want(t, 200, d.call(t, d.support, "POST", "/tenants/default/users/alice/suspend", nil))
		d.Want(400, "invalid_request", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil)))
		want(t, 200, d.call(t, d.support, "POST", "/tenants/default/users/alice/resume", nil))
		d.SignIn("alice")
	})
}

func TestUsersAreSearchedByAnAttribute(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		const path = "/tenants/default/users?attribute="
		wantProblem(t, "no list", 400, "invalid_request", d.call(t, d.support, "GET", path+"email:ada%40example.com", nil))
		wantProblem(t, "no colon", 400, "invalid_request", d.call(t, d.support, "GET", path+"email", nil))
		for _, names := range []any{[]string{"a:b"}, []string{"sub"}, []string{"email", "email"}, []string{""}} {
			wantProblem(t, jsonOf(names), 400, "invalid_request", d.call(t, d.owner, "PATCH", "/tenants/default", object{"searchable_attributes": names}))
		}
		want(t, 200, d.call(t, d.owner, "PATCH", "/tenants/default", object{"searchable_attributes": []string{"email"}}))
		wantProblem(t, "at once", 409, "indexing", d.call(t, d.support, "GET", path+"email:ada%40example.com", nil))
		for _, sub := range []string{"ada", "bob", "eve"} {
			want(t, 201, d.call(t, d.admin, "PUT", "/tenants/default/users/"+sub, object{"attributes": object{"email": "ada@example.com"}}))
		}
		want(t, 201, d.call(t, d.admin, "PUT", "/tenants/acme/users/zoe", object{"attributes": object{"email": "ada@example.com"}}))
		d.Clock.Advance(time.Minute)
		if err := d.Store.IndexAttributes(t.Context()); err != nil {
			t.Fatal(err)
		}
		page := want(t, 200, d.call(t, d.support, "GET", path+"email:ada%40example.com&limit=2", nil))
		if got := subsOf(page); got != "ada bob" {
			t.Errorf("the first page: %s", got)
		}
		page = want(t, 200, d.call(t, d.viewer, "GET", path+"email:ada%40example.com&limit=2&cursor="+url.QueryEscape(page.Text("next_cursor")), nil))
		if got := subsOf(page); got != "eve" || page.Text("next_cursor") != "" {
			t.Errorf("the second page: %s", page.Body)
		}
		if got := subsOf(want(t, 200, d.call(t, d.support, "GET", path+"email:ada%40example.com&q=b", nil))); got != "bob" {
			t.Errorf("with a prefix: %s", got)
		}
		wantProblem(t, "another tenant's key", 404, "not_found", d.call(t, d.onlyAcme, "GET", path+"email:ada%40example.com", nil))
		exported := want(t, 200, d.call(t, d.admin, "GET", "/export?tenant=default", nil))
		if !strings.Contains(string(exported.Body), `"searchable_attributes":["email"]`) {
			t.Errorf("the export: %s", exported.Body)
		}
		if events := d.Stored("events"); strings.Contains(events, "ada@example.com") {
			t.Errorf("an event has the value: %s", lines(events, "ada@example.com"))
		}
	})
}

// subsOf returns the subs of a page of users.
func subsOf(a *testserver.Answer) string {
	var subs []string
	for _, item := range a.JSON["items"].([]any) {
		subs = append(subs, item.(object)["sub"].(string))
	}
	return strings.Join(subs, " ")
}

func TestAKeyLiftsOnlySuspensionsInItsTenants(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		acmeSupport, _ := d.NewAdminKey(oauth.AdminKeySpec{Name: "acme's support", Role: models.RoleSupport, Tenants: []string{"acme"}})
		for _, at := range []string{"/tenants/default/users/alice", "/tenants/default/clients/web"} {
			want(t, 200, d.call(t, d.admin, "POST", at+"/suspend", nil))
			for _, key := range []string{d.onlyAcme, acmeSupport} {
				a := d.call(t, key, "POST", at+"/resume", nil)
				if a.Status != 404 && !(a.Status == 403 && key == acmeSupport) {
					t.Errorf("%s: status %d %s", at, a.Status, a.Body)
				}
			}
			want(t, 200, d.call(t, d.admin, "POST", at+"/resume", nil)) // it was still suspended
		}
		// In their tenant, they lift what their role could have suspended.
		want(t, 200, d.call(t, d.support, "POST", "/tenants/acme/users/alice/suspend", nil))
		want(t, 200, d.call(t, acmeSupport, "POST", "/tenants/acme/users/alice/resume", nil))
		want(t, 200, d.call(t, d.admin, "POST", "/tenants/acme/users/alice/suspend", nil))
		wantProblem(t, "suspended by an admin", 403, "forbidden", d.call(t, acmeSupport, "POST", "/tenants/acme/users/alice/resume", nil))
		want(t, 200, d.call(t, d.onlyAcme, "POST", "/tenants/acme/users/alice/resume", nil))
		want(t, 200, d.call(t, d.admin, "POST", "/tenants/acme/clients/web/suspend", nil))
		wantProblem(t, "a client", 403, "forbidden", d.call(t, acmeSupport, "POST", "/tenants/acme/clients/web/resume", nil))
		want(t, 200, d.call(t, d.owner, "POST", "/tenants/acme/suspend", nil))
		wantProblem(t, "a tenant", 403, "forbidden", d.call(t, d.onlyAcme, "POST", "/tenants/acme/resume", nil))
		want(t, 200, d.call(t, d.owner, "POST", "/tenants/acme/resume", nil))
	})
}
