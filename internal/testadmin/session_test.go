package testadmin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
)

// ids returns a member of each item of a page.
func ids(a *testserver.Answer, member string) (found []string) {
	for _, item := range list(a.JSON["items"]) {
		found = append(found, fmt.Sprint(item.(object)[member]))
	}
	return found
}

func at(moment time.Time) string { return url.QueryEscape(moment.Format(time.RFC3339)) }

func TestSessionsAreFoundByEachFilter(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		begin := d.Clock.Now()
		old := d.SignIn("alice").Text("session_id")
		d.Clock.Advance(time.Hour)
		here := d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil)))
		atBackend := d.SignInAtBackend("bob").Text("session_id")
		d.Clock.Advance(time.Hour)
		there := d.Want(200, "", d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT,
			"subject_token", d.Issuer.Token(d.URL, "carol", nil)}, testserver.Header("X-Forwarded-For", "192.0.2.7"))).Text("session_id")
		ended := d.SignIn("dave").Text("session_id")
		want(t, 204, d.call(t, d.support, "DELETE", "/tenants/default/sessions/"+ended, nil))
		d.Want(200, "", d.Refresh("", "web", here.Text("refresh_token")))
		second := here.Text("session_id")
		for query, wanted := range map[string][]string{
			"":                               {ended, there, atBackend, second, old},
			"user=alice":                     {second, old},
			"user=Alice":                     {},
			"client=backend":                 {atBackend},
			"client=nobody":                  {},
			"user=bob&client=web":            {},
			"state=ended":                    {ended},
			"state=active":                   {there, atBackend, second, old},
			"ip=192.0.2.7":                   {there},
			"ip=::ffff:192.0.2.7":            {there},
			"ip=192.0.2.8":                   {},
			"issuer=" + d.entryID("default"): {ended, there, atBackend, second, old},
			"created_after=" + at(begin.Add(time.Hour)):                                                       {ended, there, atBackend, second},
			"created_before=" + at(begin.Add(time.Hour)):                                                      {old},
			"created_after=" + at(begin.Add(time.Hour)) + "&created_before=" + at(begin.Add(2*time.Hour)):     {atBackend, second},
			"active_after=" + at(begin.Add(2*time.Hour)):                                                      {ended, there, second},
			"active_before=" + at(begin.Add(2*time.Hour)):                                                     {atBackend, old},
			"user=alice&state=active&active_after=" + at(begin.Add(2*time.Hour)) + "&ip=127.0.0.1&client=web": {second},
		} {
			got := ids(want(t, 200, d.call(t, d.support, "GET", "/tenants/default/sessions?"+query, nil)), "id")
			slices.Sort(got)
			slices.Sort(wanted)
			if !slices.Equal(got, wanted) {
				t.Errorf("%s: %v, want %v", query, got, wanted)
			}
		}
		if got := ids(want(t, 200, d.call(t, d.support, "GET", "/tenants/acme/sessions", nil)), "id"); len(got) > 0 {
			t.Errorf("another tenant has %v", got)
		}
	})
}

func TestPagesContainEverySessionOnceWhileSessionsBegin(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		var before []string
		for i := range 12 {
			before = append(before, d.SignIn(fmt.Sprint("user", i)).Text("session_id"))
			if i%3 == 0 {
				d.Clock.Advance(time.Second) // several begin at the same moment
			}
		}
		seen := map[string]int{}
		for path := "/tenants/default/sessions?limit=3"; path != ""; {
			a := want(t, 200, d.call(t, d.viewer, "GET", path, nil))
			for _, id := range ids(a, "id") {
				seen[id]++
			}
			if len(list(a.JSON["items"])) > 3 {
				t.Errorf("a page of %d", len(list(a.JSON["items"])))
			}
			d.SignIn("another")
			if path = ""; a.Text("next_cursor") != "" {
				path = "/tenants/default/sessions?limit=3&cursor=" + a.Text("next_cursor")
			}
			if len(seen) > 100 {
				t.Fatal("the list has no end")
			}
		}
		for _, id := range before {
			if seen[id] != 1 {
				t.Errorf("a session was listed %d times", seen[id])
			}
		}
	})
}

func TestSessionsEnd(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		alice := []*testserver.Answer{d.SignIn("alice"), d.SignIn("alice"), d.SignIn("alice")}
		bob := d.SignIn("bob")
		const path = "/tenants/default/sessions"
		want(t, 204, d.call(t, d.support, "DELETE", path+"/"+alice[0].Text("session_id"), nil))
		want(t, 204, d.call(t, d.support, "DELETE", path+"/"+alice[0].Text("session_id"), nil))
		d.Want(400, "invalid_grant", d.Refresh("", "web", alice[0].Text("refresh_token")))
		shown := want(t, 200, d.call(t, d.viewer, "GET", path+"/"+alice[0].Text("session_id"), nil))
		if shown.Text("state") != "ended" || shown.Text("end_reason") != "revoked_by_admin" {
			t.Errorf("shown as %s", shown.Body)
		}
		before := d.Stored("sessions", "events")
		a := d.call(t, d.support, "DELETE", path+"?user=alice&confirm=1", nil)
		wantProblem(t, "more than confirmed", 409, "confirm", a)
		if !bytes.HasPrefix([]byte(a.Text("detail")), []byte("2 sessions")) {
			t.Errorf("the problem does not name the number: %s", a.Body)
		}
		if d.Stored("sessions", "events") != before {
			t.Error("a request that was not confirmed has changed something")
		}
		if n := want(t, 200, d.call(t, d.support, "DELETE", path+"?user=alice&client=web&confirm=2", nil)).JSON["ended"]; n != float64(2) {
			t.Errorf("%v ended", n)
		}
		if n := want(t, 200, d.call(t, d.support, "DELETE", path+"?user=alice&confirm=5", nil)).JSON["ended"]; n != float64(0) {
			t.Errorf("%v ended again", n)
		}
		for _, a := range alice {
			d.Want(400, "invalid_grant", d.Refresh("", "web", a.Text("refresh_token")))
		}
		bob = d.Want(200, "", d.Refresh("", "web", bob.Text("refresh_token")))
		if n := want(t, 200, d.call(t, d.support, "DELETE", path+"?client=web&confirm=1", nil)).JSON["ended"]; n != float64(1) {
			t.Errorf("%v ended of a client", n)
		}
		d.Want(400, "invalid_grant", d.Refresh("", "web", bob.Text("refresh_token")))
	})
}

func TestSessionAttributesBecomeClaimsOfTheNextRefresh(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		want(t, 200, d.call(t, d.admin, "PATCH", "/tenants/default/clients/web", object{"claims": object{"org": "session.?org.orValue('none')"}}))
		d.reload(t)
		a := d.SignIn("alice")
		path := "/tenants/default/sessions/" + a.Text("session_id")
		for _, c := range []struct{ given, claim any }{{"acme", "acme"}, {"other", "other"}, {nil, "none"}} {
			shown := want(t, 200, d.call(t, d.admin, "PATCH", path, object{"attributes": object{"org": c.given}}))
			if got := shown.JSON["claims"].(object)["org"]; got != c.claim {
				t.Errorf("the next claim is shown as %v, want %v", got, c.claim)
			}
			d.Clock.Advance(time.Minute)
			a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
			if got := testserver.Claims(t, a)["org"]; got != c.claim {
				t.Errorf("org is %v, want %v", got, c.claim)
			}
		}
		for _, key := range []string{d.support, d.viewer} {
			shown := want(t, 200, d.call(t, key, "GET", path, nil))
			if shown.JSON["attributes"] != nil || shown.JSON["claims"] != nil {
				t.Errorf("a role that may not sees %s", shown.Body)
			}
		}
	})
}

func TestExtendingIsBoundedByTheClient(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		a := d.SignIn("alice")
		path := "/tenants/default/sessions/" + a.Text("session_id") + "/extend"
		if a := d.call(t, d.admin, "POST", path, object{"expires_in": "24h"}); a.Status != 409 {
			t.Errorf("a client without max_lifetime: status %d %s", a.Status, a.Body)
		}
		want(t, 200, d.call(t, d.admin, "PATCH", "/tenants/default/clients/web", object{"max_lifetime": "60d"}))
		d.reload(t)
		for _, c := range []struct {
			given  string
			status int
		}{{"59d", 200}, {"0s", 400}, {"none", 400}, {"61d", 409}} {
			shown := d.call(t, d.admin, "POST", path, object{"expires_in": c.given})
			end, _ := time.Parse(time.RFC3339, shown.Text("expires_at"))
			if c.given == "61d" && shown.Status == 200 { // cut to the bound
				if end.After(d.Clock.Now().Add(60 * 24 * time.Hour)) {
					t.Errorf("%s: until %s", c.given, end)
				}
				continue
			}
			if shown.Status != c.status || c.status == 200 && !end.Equal(d.Clock.Now().Add(59*24*time.Hour)) {
				t.Errorf("%s: status %d %s", c.given, shown.Status, shown.Body)
			}
		}
	})
}

func TestAnExportContainsEveryMatchingSession(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		wanted := map[string]bool{}
		for range 7 {
			wanted[d.SignIn("alice").Text("session_id")] = true
		}
		d.SignIn("bob")
		a := want(t, 200, d.call(t, d.admin, "GET", "/tenants/default/sessions/export?user=alice", nil))
		for _, line := range bytes.Split(bytes.TrimSpace(a.Body), []byte("\n")) {
			var s object
			if err := json.Unmarshal(line, &s); err != nil || !wanted[s["id"].(string)] {
				t.Errorf("a line is %s: %v", line, err)
				continue
			}
			delete(wanted, s["id"].(string))
		}
		if len(wanted) > 0 {
			t.Errorf("%d sessions are missing", len(wanted))
		}
		events := want(t, 200, d.call(t, d.admin, "GET", "/tenants/default/events?type=sessions_exported", nil))
		if n := len(list(events.JSON["items"])); n != 1 {
			t.Errorf("%d events of the export", n)
		}
	})
}

func TestAnExportOfTheConfigurationIsAnEventOfEachTenant(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		events := func(tenant string) int {
			a := want(t, 200, d.call(t, d.admin, "GET", "/tenants/"+tenant+"/events?type=config_exported", nil))
			return len(list(a.JSON["items"]))
		}
		want(t, 403, d.call(t, d.viewer, "GET", "/export", nil))
		want(t, 200, d.call(t, d.admin, "GET", "/export?tenant=acme", nil))
		if events("acme") != 1 || events("default") != 0 {
			t.Errorf("one tenant was exported: %d and %d events", events("acme"), events("default"))
		}
		want(t, 200, d.call(t, d.owner, "GET", "/export", nil))
		if events("acme") != 2 || events("default") != 1 {
			t.Errorf("both were exported: %d and %d events", events("acme"), events("default"))
		}
	})
}
