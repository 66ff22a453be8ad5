package testadmin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
)

// mayCall lists the roles that may call each operation: o is owner, a is admin, s is
// support, v is viewer.
var mayCall = map[string]string{
	"list-tenants": "oasv", "get-tenant": "oasv", "put-tenant": "o", "patch-tenant": "o", "delete-tenant": "o", "suspend-tenant": "o", "resume-tenant": "o",
	"list-clients": "oasv", "get-client": "oasv", "put-client": "oa", "patch-client": "oa", "delete-client": "oa", "new-client-secret": "oa", "preview-client": "oa",
	"suspend-client": "oa", "resume-client": "oa",
	"list-trusted-issuers": "oasv", "get-trusted-issuer": "oasv", "put-trusted-issuer": "oa", "patch-trusted-issuer": "oa", "delete-trusted-issuer": "oa",
	"check-trusted-issuer": "oa", "suspend-trusted-issuer": "oa", "resume-trusted-issuer": "oa",
	"list-event-destinations": "oav", "get-event-destination": "oav", "put-event-destination": "oa", "patch-event-destination": "oa", "delete-event-destination": "oa",
	"new-event-destination-secret": "oa", "enable-event-destination": "oa", "test-event-destination": "oa", "list-deliveries": "oav", "redeliver": "oa",
	"list-users": "oasv", "get-user": "oasv", "put-user": "oa", "patch-user": "oa", "delete-user": "oa", "end-user-sessions": "oas",
	"suspend-user": "oas", "resume-user": "oas",
	"list-sessions": "oasv", "get-session": "oasv", "export-sessions": "oa", "end-session": "oas", "end-sessions": "oas", "patch-session": "oa", "extend-session": "oa",
	"list-signing-keys": "oav", "rotate-signing-key": "oa", "retire-signing-key": "oa",
	"list-events": "oav", "follow-events": "oav", "list-deployment-events": "o", "get-stats": "oav", "list-nodes": "oav",
	"get-self": "oasv", "list-admin-keys": "o", "create-admin-key": "o", "revoke-admin-key": "o",
	"list-suspensions": "oasv", "explain": "oas", "apply": "oa", "export": "oa", "mint-client-token": "oa",
}

func TestEachRoleMayCallOnlyItsOperations(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		v := pathValues(t, d)
		held := map[string]string{"o": d.owner, "a": d.admin, "s": d.support, "v": d.viewer}
		for _, op := range theDocument().operations {
			may, known := mayCall[op.id]
			if !known {
				t.Errorf("%s is not in the table", op.id)
			}
			query, body := requiredInput(op.id)
			path := strings.TrimPrefix(fillPath(op.path, v), "/admin/v1") + query
			// First the roles that may not call it, so that nothing has changed yet.
			before := d.Stored(configured...)
			for _, allowed := range []bool{false, true} {
				for role, key := range held {
					if strings.Contains(may, role) != allowed {
						continue
					}
					if allowed && op.id == "follow-events" {
						follow(t, d, key, strings.TrimPrefix(path, "/admin/v1"), func(*stream) {})
						continue
					}
					a := d.call(t, key, op.method, path, body)
					if allowed && (a.Status == 401 || a.Status == 403) {
						t.Errorf("%s as %s: status %d %s", op.id, role, a.Status, a.Body)
					}
					if !allowed {
						wantProblem(t, op.id+" as "+role, 403, "forbidden", a)
					}
				}
				if !allowed && d.Stored(configured...) != before {
					t.Errorf("%s: a refused request has changed something", op.id)
				}
			}
		}
		for id := range mayCall {
			if !slices.ContainsFunc(theDocument().operations, func(o operation) bool { return o.id == id }) {
				t.Errorf("there is no operation %s", id)
			}
		}
	})
}

// configured lists the tables that operators change.
var configured = []string{"tenants", "clients", "trusted_issuers", "users", "sessions", "events", "signing_keys", "suspensions", "file_nouns", "event_destinations", "event_deliveries"}

func TestAKeyOfOneTenantSeesNoOther(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		v := pathValues(t, d)
		for _, role := range []models.Role{models.RoleAdmin, models.RoleSupport, models.RoleViewer} {
			key, _ := d.NewAdminKey(oauth.AdminKeySpec{Name: "acme's", Role: role, Tenants: []string{"acme"}})
			want(t, 200, d.call(t, key, "GET", "/self", nil))
			before := d.Stored(configured...)
			for _, op := range theDocument().operations {
				if op.id == "export" { // writes an event into its own tenant
					continue
				}
				query, body := requiredInput(op.id)
				path := strings.TrimPrefix(fillPath(op.path, v), "/admin/v1") + query
				what := fmt.Sprintf("%s as %s", op.id, role)
				if strings.Contains(op.path, "{tenant}") {
					wantProblem(t, what, 404, "not_found", d.call(t, key, op.method, path, body))
				}
				nowhere := maps.Clone(v)
				nowhere["tenant"] = "nowhere"
				if there, not := d.call(t, key, op.method, path, body), d.call(t, key, op.method, strings.TrimPrefix(fillPath(op.path, nowhere), "/admin/v1")+query, body); strings.Contains(op.path, "{tenant}") && string(there.Body) != string(not.Body) {
					t.Errorf("%s: a tenant that is not its own differs from one that does not exist: %s, %s", what, there.Body, not.Body)
				}
			}
			if d.Stored(configured...) != before {
				t.Errorf("the key of the role %s has changed something", role)
			}
			list := want(t, 200, d.call(t, key, "GET", "/tenants", nil)).JSON["items"].([]any)
			if len(list) != 1 || list[0].(object)["id"] != "acme" {
				t.Errorf("the key of the role %s lists %v", role, list)
			}
			for _, path := range []string{"/stats?tenant=default", "/export?tenant=default", "/export?tenant=acme,default"} {
				if a := d.call(t, key, "GET", path, nil); a.Status != 404 && a.Status != 403 || role == models.RoleAdmin && a.Status != 404 {
					t.Errorf("%s as %s: status %d %s", path, role, a.Status, a.Body)
				}
			}
		}
		export := want(t, 200, d.call(t, d.onlyAcme, "GET", "/export", nil))
		if list := export.JSON["tenants"].([]any); len(list) != 1 || strings.Contains(string(export.Body), `"default"`) {
			t.Errorf("the export of a key of one tenant: %s", export.Body)
		}
		for _, tenant := range []string{"acme", "default"} {
			want(t, 200, d.call(t, d.owner, "POST", "/tenants/"+tenant+"/users/nobody/suspend", nil))
		}
		suspensions := want(t, 200, d.call(t, d.onlyAcme, "GET", "/suspensions", nil))
		if list := suspensions.JSON["items"].([]any); len(list) != 1 || list[0].(object)["tenant"] != "acme" {
			t.Errorf("the suspensions of a key of one tenant: %s", suspensions.Body)
		}
		wantProblem(t, "suspensions of another tenant", 404, "not_found", d.call(t, d.onlyAcme, "GET", "/suspensions?tenant=default", nil))
		a := want(t, 200, d.call(t, d.onlyAcme, "GET", "/stats", nil))
		if strings.Contains(string(a.Body), `"default"`) {
			t.Errorf("the numbers of a key of one tenant: %s", a.Body)
		}
	})
}

func TestApplyIsLimitedToTheTenantsOfItsKey(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		before := d.Stored(configured...)
		client := object{"id": "new", "auth": "none", "grants": []string{"token-exchange"}}
		for name, c := range map[string]struct {
			query  string
			body   object
			status int
		}{
			"another tenant":                      {"", object{"tenants": []object{{"id": "default", "clients": []object{client}}}}, 404},
			"a new tenant":                        {"", object{"tenants": []object{{"id": "new"}}}, 404},
			"its own and another":                 {"?prune=true", object{"tenants": []object{{"id": "acme"}, {"id": "default"}}}, 404},
			"the settings of its tenant":          {"", object{"tenants": []object{{"id": "acme", "store_device": false}}}, 403},
			"the revision":                        {"", object{"revision": 9, "tenants": []object{}}, 403},
			"private addresses":                   {"", object{"tenants": []object{{"id": "acme", "trusted_issuers": []object{{"id": "inside", "issuer": "https://in.example.com", "subject_prefix": "in:", "token_type": "jwt", "allow_private_addresses": true, "keys": object{"discovery": true}}}}}}, 403},
			"another tenant, dry":                 {"?dry_run=true", object{"tenants": []object{{"id": "default", "clients": []object{client}}}}, 404},
			"nothing, while pruning what is left": {"?prune=true", object{"tenants": []object{}}, 200},
		} {
			if a := d.call(t, d.onlyAcme, "POST", "/apply"+c.query, c.body); a.Status != c.status {
				t.Errorf("%s: status %d %s, want %d", name, a.Status, a.Body, c.status)
			}
		}
		if after := d.Stored(configured...); after != before {
			t.Errorf("stored:\n%s\nbefore:\n%s", after, before)
		}
	})
}

// If a trusted issuer may be fetched from private addresses, whoever chooses its address
// can reach the internal network.
func TestOnlyAnOwnerAllowsPrivateAddresses(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		inside := object{"issuer": "https://in.example.com", "subject_prefix": "in:", "token_type": "jwt", "allow_private_addresses": true, "keys": object{"jwks_uri": "https://10.0.0.1/jwks"}}
		const path = "/tenants/acme/trusted-issuers/inside"
		entry := func(change object) object {
			return object{"tenants": []object{{"id": "acme", "trusted_issuers": []object{with(object{"id": "inside"}, change)}}}}
		}
		elsewhere := object{"keys": object{"jwks_uri": "https://10.0.0.2/admin"}}
		wantProblem(t, "put", 403, "forbidden", d.call(t, d.admin, "PUT", path, inside))
		want(t, 201, d.call(t, d.owner, "PUT", path, inside))
		before := d.Stored(configured...)
		wantProblem(t, "put", 403, "forbidden", d.call(t, d.admin, "PUT", path, with(inside, elsewhere)))
		wantProblem(t, "patch", 403, "forbidden", d.call(t, d.admin, "PATCH", path, elsewhere))
		wantProblem(t, "patch of iss", 403, "forbidden", d.call(t, d.admin, "PATCH", path, object{"issuer": "https://other.example.com"}))
		for _, key := range []string{d.admin, d.onlyAcme} {
			wantProblem(t, "apply", 403, "forbidden", d.call(t, key, "POST", "/apply", entry(elsewhere)))
			wantProblem(t, "apply of discovery", 403, "forbidden", d.call(t, key, "POST", "/apply", entry(object{"keys": object{"discovery": true}})))
			wantProblem(t, "apply with replace", 403, "forbidden", d.call(t, key, "POST", "/apply?replace=true", entry(with(inside, elsewhere))))
		}
		if after := d.Stored(configured...); after != before {
			t.Errorf("stored:\n%s\nbefore:\n%s", after, before)
		}
		want(t, 200, d.call(t, d.admin, "PATCH", path, object{"leeway": "5s"}))
		want(t, 200, d.call(t, d.owner, "PATCH", path, elsewhere))
		want(t, 200, d.call(t, d.admin, "PATCH", path, object{"allow_private_addresses": nil, "keys": object{"jwks_uri": "https://keys.example.com"}}))
	})
}

func TestInvalidKeysAreRefused(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		expiring, _ := d.NewAdminKey(oauth.AdminKeySpec{Name: "expiring", Role: models.RoleOwner, ExpiresAt: d.Clock.Now().Add(time.Hour)})
		revoked, row := d.NewAdminKey(oauth.AdminKeySpec{Name: "revoked", Role: models.RoleOwner})
		want(t, 200, d.call(t, expiring, "GET", "/self", nil))
		want(t, 200, d.call(t, revoked, "GET", "/self", nil))
		want(t, 200, d.call(t, d.owner, "DELETE", "/admin-keys/"+row.ID, nil))
		d.Clock.Advance(time.Hour)
		foreign, err := keys.NewRoots([]string{testserver.NextRoot})
		if err != nil {
			t.Fatal(err)
		}
		unknown, _ := d.Keys.NewAdminKey()
		underAnother, _ := foreign.NewAdminKey()
		changed := []byte(d.owner)
		changed[30] ^= 1
		bearer := func(text string) []option { return []option{header("Authorization", text)} }
		for name, options := range map[string][]option{
			"no key":                      {},
			"an expired key":              bearer("Bearer " + expiring),
			"a revoked key":               bearer("Bearer " + revoked),
			"an unknown key":              bearer("Bearer " + unknown),
			"a key of another root":       bearer("Bearer " + underAnother),
			"an altered key":              bearer("Bearer " + string(changed)),
			"a shortened key":             bearer("Bearer " + d.owner[:len(d.owner)-1]),
			"a lengthened key":            bearer("Bearer " + d.owner + "A"),
			"a key in upper case":         bearer("Bearer " + strings.ToUpper(d.owner)),
			"a key without a scheme":      bearer(d.owner),
			"a key with the scheme Basic": bearer("Basic " + d.owner),
			"an empty key":                bearer("Bearer "),
			"an access token":             bearer("Bearer " + d.SignIn("alice").Text("access_token")),
			"a session token":             bearer("Bearer " + d.SignInAtBackend("alice").Text("session_token")),
			"two keys":                    {func(r *request) { r.header["Authorization"] = []string{"Bearer " + d.owner, "Bearer " + d.owner} }},
			"a key in the query":          {func(r *request) { r.malformed = true }},
			"a key in a cookie":           {header("Cookie", "Authorization=Bearer "+d.owner)},
			"a key with two prefixes":     bearer("Bearer lk_ak_" + d.owner),
		} {
			path := "/self"
			if name == "one in the query" {
				path += "?access_token=" + d.owner
			}
			a := d.call(t, "", "GET", path, nil, append(options, malformed, fromNewIP())...)
			wantProblem(t, name, 401, "unauthorized", a)
			if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("%s: WWW-Authenticate %q", name, a.Header.Get("WWW-Authenticate"))
			}
		}
		// The scheme is case-insensitive (RFC 9110 §11.1).
		want(t, 200, d.call(t, "", "GET", "/self", nil, header("Authorization", "bearer "+d.owner)))
		// Only keys that existed cause an event: anybody can send other keys.
		events := list(want(t, 200, d.call(t, d.owner, "GET", "/events?type=admin_key_refused", nil)).JSON["items"])
		if len(events) != 2 {
			t.Errorf("%d events of refused keys, want 2: %s", len(events), jsonOf(events))
		}
	})
}

func TestThrottlingNeverRefusesARightKey(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		here := fromNewIP()
		throttled := false
		for range 50 {
			a := d.call(t, "lk_ak_wrong", "GET", "/self", nil, here)
			if a.Status == 429 {
				throttled = true
				if a.Header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
			want(t, 200, d.call(t, d.viewer, "GET", "/self", nil, here))
		}
		if !throttled {
			t.Error("wrong keys were never throttled")
		}
		wantProblem(t, "another address", 401, "unauthorized", d.call(t, "lk_ak_wrong", "GET", "/self", nil, fromNewIP()))
	})
}

func TestEveryNodeRejectsARevokedKeyAtOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		other := d.otherNode()
		key, row := d.NewAdminKey(oauth.AdminKeySpec{Name: "short", Role: models.RoleAdmin})
		want(t, 200, d.call(t, key, "GET", "/self", nil))
		want(t, 200, other.call(t, key, "GET", "/self", nil))
		want(t, 200, d.call(t, d.owner, "DELETE", "/admin-keys/"+row.ID, nil))
		wantProblem(t, "the other node", 401, "unauthorized", other.call(t, key, "GET", "/self", nil, fromNewIP()))
		wantProblem(t, "the same node", 401, "unauthorized", d.call(t, key, "GET", "/self", nil, fromNewIP()))
	})
}

func TestTheLastOwnerKeyCannotBeRevoked(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		self := want(t, 200, d.call(t, d.owner, "GET", "/self", nil)).Text("id")
		second := want(t, 201, d.call(t, d.owner, "POST", "/admin-keys", object{"name": "second", "role": "owner", "expires_at": "1h"}))
		want(t, 200, d.call(t, d.owner, "DELETE", "/admin-keys/"+second.Text("id"), nil))
		for _, query := range []string{"", "?descendants=true"} {
			wantProblem(t, "the last owner", 409, "last_owner", d.call(t, d.owner, "DELETE", "/admin-keys/"+self+query, nil))
		}
		// If two owners revoke each other at the same time, one key remains.
		a, b := want(t, 201, d.call(t, d.owner, "POST", "/admin-keys", object{"name": "a", "role": "owner"})), want(t, 201, d.call(t, d.owner, "POST", "/admin-keys", object{"name": "b", "role": "owner"}))
		want(t, 200, d.call(t, a.Text("key"), "DELETE", "/admin-keys/"+self, nil))
		pair := []*testserver.Answer{a, b}
		answers := testserver.InParallel(2, func(i int) *testserver.Answer {
			return d.call(t, pair[i].Text("key"), "DELETE", "/admin-keys/"+pair[1-i].Text("id"), nil)
		})
		revoked := 0
		for _, a := range answers {
			if a.Status == 200 {
				revoked++
			}
		}
		if revoked != 1 {
			t.Errorf("%d of two owners were revoked by each other: %d %d", revoked, answers[0].Status, answers[1].Status)
		}
	})
}

func TestRevokingAKeyWithItsDescendants(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		make := func(by, name string, role string) *testserver.Answer {
			return want(t, 201, d.call(t, by, "POST", "/admin-keys", object{"name": name, "role": role}))
		}
		parent := make(d.owner, "parent", "owner")
		child := make(parent.Text("key"), "child", "owner")
		grandchild := make(child.Text("key"), "grandchild", "viewer")
		sibling := make(d.owner, "sibling", "viewer")
		if child.Text("parent_id") != parent.Text("id") || child.Text("created_by") != "parent" {
			t.Errorf("the key was created by %s, %s", child.Text("parent_id"), child.Text("created_by"))
		}
		done := want(t, 200, d.call(t, d.owner, "DELETE", "/admin-keys/"+parent.Text("id")+"?descendants=true", nil)).JSON["revoked"].([]any)
		if len(done) != 3 {
			t.Errorf("revoked %v", done)
		}
		for name, key := range map[string]*testserver.Answer{"parent": parent, "child": child, "grandchild": grandchild} {
			wantProblem(t, name, 401, "unauthorized", d.call(t, key.Text("key"), "GET", "/self", nil, fromNewIP()))
		}
		want(t, 200, d.call(t, sibling.Text("key"), "GET", "/self", nil))

		parent = make(d.owner, "parent", "owner")
		child = make(parent.Text("key"), "child", "viewer")
		want(t, 200, d.call(t, d.owner, "DELETE", "/admin-keys/"+parent.Text("id"), nil))
		want(t, 200, d.call(t, child.Text("key"), "GET", "/self", nil))
		again := want(t, 200, d.call(t, d.owner, "DELETE", "/admin-keys/"+parent.Text("id"), nil)).JSON["revoked"].([]any)
		if len(again) != 0 {
			t.Errorf("revoked again: %v", again)
		}
	})
}

func TestAKeyExpiresNoLaterThanItsParent(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		end := d.Clock.Now().Add(24 * time.Hour)
		maker, _ := d.NewAdminKey(oauth.AdminKeySpec{Name: "for a day", Role: models.RoleOwner, ExpiresAt: end})
		for given, expires := range map[string]time.Time{"": end, "1h": d.Clock.Now().Add(time.Hour), end.Format(time.RFC3339): end} {
			body := object{"name": "child", "role": "admin"}
			if given != "" {
				body["expires_at"] = given
			}
			a := want(t, 201, d.call(t, maker, "POST", "/admin-keys", body))
			if got, _ := time.Parse(time.RFC3339, a.Text("expires_at")); !got.Equal(expires) {
				t.Errorf("%q: expires at %s, want %s", given, a.Text("expires_at"), expires)
			}
		}
		for _, given := range []string{"25h", "none", end.Add(time.Second).Format(time.RFC3339), "2000-01-01T00:00:00Z", "0s"} {
			a := d.call(t, maker, "POST", "/admin-keys", object{"name": "child", "role": "admin", "expires_at": given})
			wantProblem(t, given, 400, "invalid_request", a)
		}
	})
}
