package testconsole

import (
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

// pages lists every page below a tenant, with the roles that may open it: o is owner, a
// is admin, s is support, v is viewer. SID, KID, KEY, DEST, ISSUER and USER stand for ids.
var pages = []struct{ path, may string }{
	{"", "oasv"},
	{"/sessions", "oasv"},
	{"/sessions?user=alice&state=active&created_after=2020-01-01T00:00", "oasv"},
	{"/sessions/SID", "oasv"},
	{"/sessions/SID/end", "oas"},
	{"/sessions/end?user=alice", "oas"},
	{"/users", "oasv"},
	{"/users/show?sub=alice", "oasv"},
	{"/users/sign-out?sub=alice", "oas"},
	{"/users/disable?sub=alice", "oa"},
	{"/users/suspend?sub=alice", "oas"},
	{"/users/delete?sub=alice", "oa"},
	{"/events", "oav"},
	{"/events?type=session.&user=alice", "oav"},
	{"/destinations", "oav"},
	{"/new-destination", "oa"},
	{"/destinations/DEST", "oav"},
	{"/destinations/DEST?state=dead", "oav"},
	{"/destinations/DEST/edit", "oa"},
	{"/destinations/DEST/delete", "oa"},
	{"/keys", "oav"},
	{"/keys/KID/retire", "oa"},
	{"/settings", "oasv"},
	{"/settings/suspend", "o"},
	{"/settings/delete", "o"},
	{"/settings/export", "oa"},
	{"/settings/admin-keys", "o"},
	{"/settings/admin-keys/KEY", "o"},
	{"/overview", "oav"},
	{"/clients", "oasv"},
	{"/clients?q=web", "oasv"},
	{"/clients/new", "oa"},
	{"/clients/web", "oasv"},
	{"/clients/web/claims", "oasv"},
	{"/clients/web/integrate", "oasv"},
	{"/clients/web/secret", "oa"},
	{"/clients/web/suspend", "oa"},
	{"/clients/web/delete", "oa"},
	{"/issuers", "oasv"},
	{"/issuers/new", "oa"},
	{"/issuers/ISSUER", "oasv"},
	{"/issuers/ISSUER/suspend", "oa"},
	{"/issuers/ISSUER/delete", "oa"},
	{"/explain", "oas"},
	{"/playground", "oa"},
}

// forms lists the target of every form below a tenant, with fields that would do
// something.
var forms = []struct {
	path, may string
	fields    []string
}{
	{"/sessions/SID/end", "oas", []string{"confirm", "alice"}},
	{"/sessions/end", "oas", []string{"user", "alice", "count", "9", "confirm", "alice"}},
	{"/sessions/export", "oa", nil},
	{"/users/show?sub=alice", "oa", []string{"name", "plan", "value", "gold"}},
	{"/users/sign-out?sub=alice", "oas", []string{"confirm", "alice"}},
	{"/users/disable?sub=alice", "oa", []string{"confirm", "alice"}},
	{"/users/suspend?sub=alice", "oas", []string{"confirm", "alice"}},
	{"/users/resume?sub=alice", "oas", nil},
	{"/users/delete?sub=alice", "oa", []string{"confirm", "alice"}},
	{"/new-destination", "oa", []string{"id", "more", "type", "webhook", "url", "https://hooks.example.com/"}},
	{"/destinations/DEST", "oa", []string{"do", "redeliver"}},
	{"/destinations/DEST/edit", "oa", []string{"type", "webhook", "url", "https://other.example.com/"}},
	{"/destinations/DEST/delete", "oa", []string{"confirm", "DEST"}},
	{"/keys", "oa", nil},
	{"/keys/KID/retire", "oa", []string{"confirm", "KID"}},
	{"/settings", "o", []string{"key_rotation", "30d"}},
	{"/settings/document", "o", []string{"document", `{"key_rotation": "30d"}`}},
	{"/settings/suspend", "o", []string{"confirm", "acme"}},
	{"/settings/resume", "o", nil},
	{"/settings/delete", "o", []string{"confirm", "acme"}},
	{"/settings/export", "oa", []string{"format", "yaml"}},
	{"/settings/admin-keys", "o", []string{"name", "more", "role", "owner"}},
	{"/settings/admin-keys/KEY", "o", []string{"confirm", "KEY"}},
	{"/clients/new", "oa", []string{"kind", "app", "id", "more"}},
	{"/clients/web", "oa", []string{"name", "Other"}},
	{"/clients/web/claims", "oa", []string{"allow", "false", "action", "save"}},
	{"/clients/web/document", "oa", []string{"document", `{"auth": "none", "grants": ["token-exchange"]}`}},
	{"/clients/web/secret", "oa", []string{"previous_until", "0s"}},
	{"/clients/web/suspend", "oa", []string{"confirm", "web"}},
	{"/clients/web/resume", "oa", nil},
	{"/clients/web/delete", "oa", []string{"confirm", "web"}},
	{"/issuers/new", "oa", []string{"id", "more", "issuer", "https://more.example.com", "token_type", "jwt", "keys", "discovery", "subject_prefix", "more:"}},
	{"/issuers/ISSUER", "oa", []string{"issuer", "https://other.example.com"}},
	{"/issuers/ISSUER/document", "oa", []string{"document", `{"issuer": "https://other.example.com", "token_type": "jwt", "keys": {"discovery": true}}`}},
	{"/issuers/ISSUER/check", "oa", nil},
	{"/issuers/ISSUER/suspend", "oa", []string{"confirm", "ISSUER"}},
	{"/issuers/ISSUER/resume", "oa", nil},
	{"/issuers/ISSUER/delete", "oa", []string{"confirm", "ISSUER"}},
	{"/explain", "oas", []string{"client", "web", "token", "x"}},
	{"/playground", "oa", []string{"step", "sign-in", "sub", "alice", "client", "web"}},
}

var letters = map[models.Role]string{models.RoleOwner: "o", models.RoleAdmin: "a", models.RoleSupport: "s", models.RoleViewer: "v"}

// stored lists the tables that operators change.
var stored = []string{"tenants", "clients", "trusted_issuers", "users", "sessions", "events", "signing_keys", "suspensions", "file_nouns", "event_destinations", "event_deliveries", "admin_keys"}

// inAcme prepares the tenant acme and returns a function that fills in ids.
func inAcme(t *testing.T, d *deployment) func(string) string {
	t.Helper()
	d.Want(200, "", d.Exchange("/t/acme", "web", d.issuer.Token(d.URL+"/t/acme", "alice", nil)))
	rows, _, err := d.Store.SearchSessions(t.Context(), models.SessionFilter{Tenant: "acme", Limit: 1})
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	keys, err := d.Store.SigningKeys(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	_, spare := d.NewAdminKey(oauth.AdminKeySpec{Name: "spare", Role: models.RoleViewer})
	issuers, _, err := d.Store.StoredIssuers(t.Context(), "acme", models.Page{Limit: 1})
	if err != nil || len(issuers) != 1 {
		t.Fatal(issuers, err)
	}
	b := d.signedIn(t, d.keys[models.RoleOwner])
	wantText(t, want(t, 200, b.post("/console/t/acme/new-destination", "id", "audit", "type", "webhook", "url", "https://hooks.example.com/")), "Copy the secret now")
	return strings.NewReplacer("SID", rows[0].ID.String(), "KID", keys[0].Kid, "KEY", spare.ID, "DEST", "audit", "ISSUER", issuers[0].Row.EntryID).Replace
}

func TestEachRoleOpensOnlyItsPages(t *testing.T) {
	d := sqlite(t)
	fill := inAcme(t, d)
	for role, key := range d.keys {
		b := d.signedIn(t, key)
		for _, p := range pages {
			status := 403
			if strings.Contains(p.may, letters[role]) {
				status = 200
			}
			r := b.get("/console/t/acme" + fill(p.path))
			if p.path == "" && r.status == 303 {
				continue
			}
			if r.status != status {
				t.Errorf("%s as %s: status %d, want %d", p.path, role, r.status, status)
			}
			if status == 403 {
				wantText(t, r, "does not include this page")
			}
		}
	}
}

func TestAFormOfAnotherRoleIsRejectedAndChangesNothing(t *testing.T) {
	d := sqlite(t)
	fill := inAcme(t, d)
	for role, key := range d.keys {
		b := d.signedIn(t, key)
		before := d.Stored(stored...)
		for _, f := range forms {
			if strings.Contains(f.may, letters[role]) {
				continue
			}
			fields := slices.Clone(f.fields)
			for i := range fields {
				fields[i] = fill(fields[i])
			}
			if r := b.post("/console/t/acme"+fill(f.path), fields...); r.status != 403 {
				t.Errorf("%s as %s: status %d", f.path, role, r.status)
			}
		}
		if d.Stored(stored...) != before {
			t.Errorf("a rejected form of the role %s has changed something", role)
		}
	}
}

func TestAKeyOfOneTenantFindsNoPageOfAnother(t *testing.T) {
	d := sqlite(t)
	fill := inAcme(t, d)
	other, _ := d.NewAdminKey(oauth.AdminKeySpec{Name: "elsewhere", Role: models.RoleAdmin, Tenants: []string{"default"}})
	b := d.signedIn(t, other)
	before := d.Stored(stored...)
	for _, p := range pages {
		if !strings.Contains(p.may, "a") || p.path == "" {
			continue
		}
		here, nowhere := b.get("/console/t/acme"+fill(p.path)), b.get("/console/t/nowhere"+fill(p.path))
		if here.status != 404 || nowhere.status != 404 {
			t.Errorf("%s: status %d, in a tenant that does not exist %d", p.path, here.status, nowhere.status)
		}
		if a, b := strings.ReplaceAll(here.text(), "acme", ""), strings.ReplaceAll(nowhere.text(), "nowhere", ""); a != b {
			t.Errorf("%s: the pages differ: %s / %s", p.path, a, b)
		}
	}
	for _, f := range forms {
		if strings.Contains(f.may, "a") {
			if r := b.post("/console/t/acme"+fill(f.path), f.fields...); r.status != 404 {
				t.Errorf("POST %s: status %d", f.path, r.status)
			}
		}
	}
	if after := d.Stored(stored...); after != before {
		t.Error("something has changed")
	}
}

var link = regexp.MustCompile(`(?:href|action)="(/console[^"#]*)"`)

// crawl opens every page that a browser finds by links, and calls visit for each.
func crawl(t *testing.T, b *browser, from string, visit func(path string, r *response)) int {
	t.Helper()
	seen := map[string]bool{from: true}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		r := b.get(queue[0])
		visit(queue[0], r)
		for _, found := range link.FindAllStringSubmatch(r.body, -1) {
			path := html.UnescapeString(found[1])
			if at, err := url.Parse(path); err != nil || seen[path] || strings.HasPrefix(at.Path, "/console/static/") || at.Path == "/console/sign-in" || at.Path == "/console/sign-out" {
				continue
			}
			seen[path] = true
			queue = append(queue, path)
		}
	}
	return len(seen)
}

// What a role may not do is not shown. The target of a form need not be a page.
func TestNoLinkLeadsToAPageThatTheRoleMayNotOpen(t *testing.T) {
	d := sqlite(t)
	inAcme(t, d)
	for role, key := range d.keys {
		n := crawl(t, d.signedIn(t, key), "/console/t/acme/sessions", func(path string, r *response) {
			if r.status == 403 || r.status >= 500 {
				t.Errorf("as %s, %s: status %d", role, path, r.status)
			}
		})
		if n < 10 {
			t.Errorf("as %s, only %d pages were found", role, n)
		}
	}
}

// probe is text that runs a script or ends an attribute if a page does not escape it.
const probe = `"><script>alert(1)</script><img src=x onerror=alert(1)>'`

func TestNoStoredTextBecomesMarkup(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		web := testserver.Web()
		web.Name = probe
		d.Apply(testserver.Tenant("acme", d.issuer, web))
		for range 2 {
			d.Want(200, "", d.Exchange("/t/acme", "web", d.issuer.Token(d.URL+"/t/acme", probe, map[string]any{"amr": []string{"<script>alert(1)</script>"}}), "latchkey_device_name", probe))
		}
		owner, _ := d.NewAdminKey(oauth.AdminKeySpec{Name: `"><script>alert(1)</script>`, Role: models.RoleOwner})
		b := d.signedIn(t, owner)
		at := "/console/t/acme/users/show?sub=" + url.QueryEscape(probe)
		want(t, 303, b.post(at, "name", "note", "value", probe))
		want(t, 303, b.post(strings.Replace(at, "show", "suspend", 1), "confirm", probe, "reason", probe))
		want(t, 200, b.post("/console/t/acme/new-destination", "id", "audit", "type", "webhook", "url", "https://hooks.example.com/?"+url.QueryEscape(probe), "description", probe))
		// What a form repeats is escaped, too.
		for path, fields := range map[string][]string{
			at: {"name", probe, "value", probe}, "/console/t/acme/new-destination": {"id", probe, "type", probe, "url", probe, "events", probe, "audience", probe, "client", probe},
			"/console/t/acme/settings": {"key_rotation", probe, "acr", probe, "retention", probe}, "/console/t/acme/settings/admin-keys": {"name", probe + strings.Repeat("x", 64), "role", probe, "tenants", probe},
			"/console/t/acme/clients/new": {"id", probe, "kind", probe, "name", probe, "scopes", probe, "audiences", probe, "origins", probe}, "/console/t/acme/clients/web": {"name", probe, "absolute_lifetime", probe, "scopes", probe},
			"/console/t/acme/clients/web/document": {"document", "</textarea>" + probe}, "/console/t/acme/settings/document": {"document", "</textarea>" + probe},
			"/console/t/acme/clients/web/claims": {"action", "save", "allow", probe, "claim_name", probe, "claim_value", probe, "sub", probe, "how", probe}, "/console/t/acme/clients/web/secret": {"previous_until", probe},
			"/console/t/acme/issuers/new": {"id", probe, "issuer", probe, "keys", "pem", "key_text", probe, "subject", probe, "user_attributes", probe + "=" + probe}, "/console/t/acme/explain": {"client", "", "token", probe},
		} {
			r := b.post(path, fields...)
			if r.status >= 500 || r.status == 200 || strings.Contains(r.body, "<script>alert") || strings.Contains(r.body, "<img src=x") {
				t.Errorf("POST %s: status %d %s", path, r.status, r.body)
			}
		}
		shown := 0
		check := func(path string, r *response) {
			if strings.Contains(r.body, "<script>alert") || strings.Contains(r.body, "<img src=x") || strings.Contains(r.body, `"><`+"script>alert") {
				t.Errorf("%s contains the probe as markup", path)
			}
			if strings.Contains(r.text(), "alert(1)") || strings.Contains(html.UnescapeString(r.body), "alert(1)") {
				shown++
			}
		}
		crawl(t, b, "/console/t/acme/sessions", check)
		check("search", b.get("/console/t/acme/sessions?user="+url.QueryEscape(probe)+"&ip="+url.QueryEscape(probe)))
		check("events", b.get("/console/t/acme/events?type="+url.QueryEscape(probe)))
		check("users", b.get("/console/t/acme/users?q="+url.QueryEscape(probe)+"&attribute="+url.QueryEscape(probe)))
		check("sign-in", b.get("/console/sign-in?next="+url.QueryEscape("/console/"+probe)))
		if shown < 10 {
			t.Errorf("only %d pages show the probe at all", shown)
		}
	})
}
