package testadmin

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

func TestEventsAreFoundByEachFilter(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		alice, bob := d.SignIn("alice"), d.SignInAtBackend("bob")
		d.Clock.Advance(time.Hour)
		want(t, 204, d.call(t, d.support, "DELETE", "/tenants/default/sessions/"+alice.Text("session_id"), nil))
		want(t, 201, d.call(t, d.admin, "PUT", "/tenants/default/clients/new", object{"auth": "none", "grants": []string{"token-exchange"}}))
		count := func(query string) (n int) {
			a := want(t, 200, d.call(t, d.viewer, "GET", "/tenants/default/events?"+query, nil))
			return len(list(a.JSON["items"]))
		}
		for query, n := range map[string]int{
			"type=session.created": 2, "type=session.ended.": 1, "type=session.ended.revoked_by_admin": 1, "type=session.": 3, "type=session.created,session.ended.": 3,
			"type=no.such": 0, "user=alice": 2, "user=bob": 1, "client=backend&type=session.": 1, "session=" + alice.Text("session_id"): 2, "session=" + bob.Text("session_id"): 1,
			"type=session.&after=" + at(d.Clock.Now()): 1, "type=session.&before=" + at(d.Clock.Now()): 2, "client=new": 1, "type=config.changed&client=new": 1,
		} {
			if got := count(query); got != n {
				t.Errorf("%s: %d events, want %d", query, got, n)
			}
		}
		seen := map[string]bool{}
		for path := "/tenants/default/events?limit=2"; path != ""; {
			a := want(t, 200, d.call(t, d.viewer, "GET", path, nil))
			for _, id := range ids(a, "id") {
				if seen[id] {
					t.Errorf("an event is on two pages")
				}
				seen[id] = true
			}
			if path = ""; a.Text("next_cursor") != "" {
				path = "/tenants/default/events?limit=2&cursor=" + a.Text("next_cursor")
			}
		}
		if n := count("limit=500"); len(seen) != n {
			t.Errorf("%d events on pages, %d on one", len(seen), n)
		}
	})
}

func TestAStreamFollowsEvents(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		const path = "/tenants/default/events/stream?type=session."
		var last string
		follow(t, d, d.viewer, path, func(s *stream) {
			sid := d.SignIn("alice").Text("session_id")
			e := s.next()
			if e.data["type"] != "session.created" || e.data["session"] != sid || e.id == "" || e.data["id"] != e.id {
				t.Errorf("event %s %v", e.id, e.data)
			}
			last = e.id
		})
		missed := d.SignIn("bob").Text("session_id")
		follow(t, d, d.viewer, path, func(s *stream) {
			if e := s.next(); e.data["session"] != missed {
				t.Errorf("after %s comes %v", last, e.data)
			}
			carol := d.SignIn("carol").Text("session_id")
			if e := s.next(); e.data["session"] != carol {
				t.Errorf("then comes %v", e.data)
			}
		}, header("Last-Event-ID", last))
		wantProblem(t, "another id", 400, "invalid_request", d.call(t, d.viewer, "GET", path, nil, header("Last-Event-ID", marker)))
	})
}

func TestAStreamEndsWhenItsKeyIsRevoked(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		key, row := d.NewAdminKey(oauth.AdminKeySpec{Name: "reader", Role: models.RoleViewer})
		follow(t, d, key, "/tenants/default/events/stream", func(s *stream) {
			want(t, 200, d.call(t, d.owner, "DELETE", "/admin-keys/"+row.ID, nil))
			for begin := time.Now(); ; {
				if _, ok := s.read(); !ok {
					if s.lines.Err() != nil {
						t.Errorf("the stream broke: %v", s.lines.Err())
					}
					return
				}
				if time.Since(begin) > 10*time.Second {
					t.Fatal("the stream goes on")
				}
			}
		})
	})
}

func TestAuditNamesTheActorAndTheChange(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		self := want(t, 200, d.call(t, d.admin, "GET", "/self", nil)).Text("id")
		const secret, later = "the-first-secret-of-the-audited-client-0123456789", "the-second-secret-of-the-audited-client-012345678"
		const path = "/tenants/default/clients/audited"
		want(t, 201, d.call(t, d.admin, "PUT", path, object{"auth": "secret", "grants": []string{"token-exchange"}, "name": "Before", "secret": secret}, fromIP("192.0.2.9")))
		d.Clock.Advance(time.Second)
		changed := want(t, 200, d.call(t, d.admin, "PATCH", path, object{"name": "After", "secret": later}, fromIP("192.0.2.9")))
		want(t, 201, d.call(t, d.admin, "PUT", "/tenants/default/users/alice", object{"attributes": object{"city": "a personal city"}}))
		want(t, 200, d.call(t, d.admin, "PATCH", "/tenants/default/users/alice", object{"attributes": object{"city": "another personal city"}}))
		issuer := object{"issuer": "https://audited.example.com", "token_type": "jwt", "subject_prefix": "audited:", "keys": object{"shared_secret": secret}}
		want(t, 201, d.call(t, d.admin, "PUT", "/tenants/default/trusted-issuers/audited", issuer))
		d.Clock.Advance(time.Second)
		want(t, 204, d.call(t, d.admin, "DELETE", path, nil))

		events := func(key, query string) []any {
			return list(want(t, 200, d.call(t, key, "GET", "/tenants/default/events?type=config.changed&"+query, nil)).JSON["items"])
		}
		var kinds []string
		for _, e := range events(d.admin, "client=audited") {
			details := e.(object)["details"].(object)
			kinds = append(kinds, details["change"].(string))
			actor := details["actor"].(object)
			if actor["key"] != self || actor["name"] != "the admin" || actor["role"] != "admin" || details["request"] == "" || details["id"] != "audited" {
				t.Errorf("details %s", jsonOf(details))
			}
			if details["change"] != "changed" {
				continue
			}
			if details["ip"] != "192.0.2.9" || details["request"] != changed.Header.Get("X-Request-Id") {
				t.Errorf("details %s, request %s", jsonOf(details), changed.Header.Get("X-Request-Id"))
			}
			fields := jsonOf(details["fields"])
			for _, part := range []string{`"from":"Before"`, `"to":"After"`, `"name":"secret"`} {
				if !strings.Contains(fields, part) {
					t.Errorf("fields %s, without %s", fields, part)
				}
			}
		}
		if got := strings.Join(kinds, " "); got != "removed changed created" {
			t.Errorf("events of the client: %s", got)
		}
		all := jsonOf(events(d.owner, "limit=500"))
		for _, text := range []string{secret, later, "personal city"} {
			if strings.Contains(all, text) {
				t.Errorf("the events contain %q", text)
			}
		}
		if !strings.Contains(all, "city") {
			t.Error("no event names the attribute")
		}
		seen := jsonOf(events(d.viewer, "limit=500"))
		if strings.Contains(seen, "Before") || strings.Contains(seen, "After") || !strings.Contains(seen, `"name":"name"`) {
			t.Errorf("the role viewer sees %s", seen)
		}
		made := want(t, 200, d.call(t, d.owner, "GET", "/events?type=config.changed", nil))
		if !strings.Contains(string(made.Body), `"admin_key"`) {
			t.Errorf("no event of an admin key: %s", made.Body)
		}
	})
}
