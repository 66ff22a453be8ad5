package testconsole

import (
	"bufio"
	"fmt"
	"html"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

const firefox = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0"

func TestASessionIsFoundReadAndEnded(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		token := d.Want(200, "", d.Post("/token", []string{
			"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "client_id", "web",
			"subject_token", d.Issuer.Token(d.URL, "alice", nil),
		}, testserver.Header("User-Agent", firefox)))
		d.SignIn("bob")
		b := d.signedIn(t, d.keys[models.RoleSupport])
		list := want(t, 200, b.get("/console/t/default/sessions?user=alice"))
		wantText(t, list, "alice", "Firefox on macOS", "active", "user: alice")
		if strings.Contains(list.text(), "bob") {
			t.Error("the search finds another user")
		}
		href := linkTo(t, list, "/console/t/default/sessions/")
		page := want(t, 200, b.get(href))
		wantText(t, page, "Signed in", "Firefox on macOS", "Ends at the latest", "127.0.0.1")
		if strings.Contains(page.text(), "Claims of the next access token") {
			t.Error("support sees the claims")
		}
		wantText(t, want(t, 200, b.get(href+"/end")), "This ends 1 session", "Type the user's id, alice")
		wantText(t, want(t, 400, b.post(href+"/end", "confirm", "Alice")), "must be alice")
		if !d.Active(token.Text("access_token")) {
			t.Fatal("the session ended without being confirmed")
		}
		r := want(t, 303, b.post(href+"/end", "confirm", "alice"))
		d.Clock.Advance(time.Second)
		if d.Active(token.Text("access_token")) {
			t.Error("the session is still active")
		}
		after := want(t, 200, b.get(r.header.Get("Location")))
		wantText(t, after, "The session has ended.", "Ended: an administrator ended it")
		if again := b.get(r.header.Get("Location")); strings.Contains(again.text(), "The session has ended.") {
			t.Error("the flash is shown twice")
		}
	})
}

// linkTo returns the first link of a page that begins with a path.
func linkTo(t *testing.T, r *response, path string) string {
	t.Helper()
	for _, found := range link.FindAllStringSubmatch(r.body, -1) {
		if rest, ok := strings.CutPrefix(found[1], path); ok && rest != "" && !strings.ContainsAny(rest, "/?") && rest != "end" {
			return found[1]
		}
	}
	t.Fatalf("no link to %s in %s", path, r.body)
	return ""
}

func TestASearchThatIsWrongSaysSoBesideItsField(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleViewer])
	for query, text := range map[string]string{
		"sessions?ip=nowhere": "must be an IP address", "sessions?created_after=soon": "must be a time such as", "sessions?issuer=other": "is not the id of a trusted issuer of the tenant",
		"events?session=x": "is not the id of a session", "users?attribute=email": "must be the name of an attribute, a colon and its value",
	} {
		r := want(t, 400, b.get("/console/t/default/"+query))
		wantText(t, r, text, "The search was not run.")
		if !strings.Contains(r.body, `class="error"`) || !strings.Contains(r.body, `aria-invalid="true"`) {
			t.Errorf("%s: the field is not marked", query)
		}
	}
}

func TestAUserIsChangedSuspendedAndDeleted(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		d.SignIn("alice")
		d.SignIn("alice")
		b := d.signedIn(t, d.keys[models.RoleAdmin])
		at := func(page string) string { return "/console/t/default/users/" + page + "?sub=alice" }
		want(t, 303, b.post(at("show"), "name", "plan", "value", "gold"))
		want(t, 303, b.post(at("show"), "name", "seats", "value", "7"))
		user, err := d.Store.User(t.Context(), "default", "alice")
		if err != nil || user.Attributes["plan"] != "gold" || fmt.Sprint(user.Attributes["seats"]) != "7" {
			t.Errorf("the attributes are %v, %v", user.Attributes, err)
		}
		wantText(t, b.get(at("show")), "plan", "gold", "operator", "2 live sessions")
		wantText(t, want(t, 400, b.post(at("show"), "name", "", "value", "x")), "is required")

		wantText(t, want(t, 200, b.get(at("sign-out"))), "This ends 2 live sessions")
		want(t, 303, b.post(at("sign-out"), "confirm", "alice"))
		wantText(t, b.get(at("show")), "The user is signed out: 2 sessions ended.", "0 live sessions")

		want(t, 303, b.post(at("suspend"), "confirm", "alice", "reason", "stolen laptop"))
		wantText(t, b.get(at("show")), "suspended", "Lift the suspension")
		want(t, 303, b.post(at("resume")))
		wantText(t, want(t, 409, b.post(at("resume"))), "It is not suspended")

		want(t, 303, b.post(at("disable"), "confirm", "alice"))
		wantText(t, b.get(at("show")), "disabled", "Enable")
		want(t, 303, b.post(at("show"), "do", "enable"))

		wantText(t, want(t, 200, b.post(at("delete"), "confirm", "alice")), "The user is deleted")
		want(t, 404, b.get(at("show")))

		// The actor of every change is the admin key, with the id of the request.
		events := d.Stored("events")
		if n := strings.Count(events, `"key":"`+d.rows[models.RoleAdmin].ID+`"`); n < 5 {
			t.Errorf("%d events name the key: %s", n, events)
		}
		if !strings.Contains(events, `"request":"`) {
			t.Error("no event has the id of the request")
		}
	})
}

func TestWhatTheFileOwnsCannotBeChanged(t *testing.T) {
	d := sqlite(t)
	tenant := testserver.Tenant("owned", testserver.NewIssuer(t, d.Clock), testserver.Web())
	tenant.SigningAlgorithm = "ES256"
	if _, err := d.Store.Start(t.Context(), []settings.TenantSpec{tenant}, "apply", models.File{}, d.Keys, func([]settings.TenantSpec) settings.Faults { return nil }); err != nil {
		t.Fatal(err)
	}
	b := d.signedIn(t, d.keys[models.RoleOwner])
	page := want(t, 200, b.get("/console/t/owned/settings"))
	wantText(t, page, "managed by file", "What the server's file owns", "web")
	version := fieldValue(page, "version")
	wantText(t, want(t, 409, b.post("/console/t/owned/settings", "key_rotation", "30d", "version", version)), "managed by the file")

	if err := d.OAuth.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	claims := "/console/t/owned/clients/web/claims"
	page = want(t, 200, b.get(claims))
	wantText(t, page, "The access token of alice")
	if strings.Contains(page.body, ">Save<") {
		t.Errorf("the page offers to save: %s", page.text())
	}
	fields := []string{"sub", "alice", "how", "hwk", "claim_name", "level", "claim_value", "'gold'", "version", page.version()}
	wantText(t, want(t, 200, b.post(claims, append(fields, "action", "check")...)), `"level": "gold"`)
	wantText(t, want(t, 409, b.post(claims, append(fields, "action", "save")...)), "managed by the file")
}

func TestTheSettingsOfATenantAreChangedIfNobodyElseHasChangedThem(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleOwner])
	version := fieldValue(b.get("/console/t/default/settings"), "version")
	wantText(t, want(t, 400, b.post("/console/t/default/settings", "key_rotation", "soon", "version", version)), "must be")
	want(t, 303, b.post("/console/t/default/settings", "key_rotation", "30d", "searchable_attributes", "email plan", "events.retention", "60d", "version", version))
	page := b.get("/console/t/default/settings")
	for name, value := range map[string]string{"key_rotation": "30d", "searchable_attributes": "email plan", "events.retention": "60d"} {
		if got := fieldValue(page, name); got != value {
			t.Errorf("%s is %q", name, got)
		}
	}
	wantText(t, want(t, 412, b.post("/console/t/default/settings", "key_rotation", "40d", "version", version)), "has changed since you read it")
	wantText(t, want(t, 200, b.get("/console/t/default/keys")), "30 days")
}

func TestASecretIsShownOnceAndNotKept(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleOwner])
	made := want(t, 200, b.post("/console/t/default/new-destination", "id", "audit", "type", "webhook", "url", "https://hooks.example.com/"))
	again := want(t, 200, b.post("/console/t/default/destinations/audit", "do", "secret"))
	key := want(t, 200, b.post("/console/t/default/settings/admin-keys", "name", "new", "role", "viewer"))
	for prefix, r := range map[string]*response{"whsec_": made, "whsec": again, "lk_ak_": key} {
		if !strings.Contains(r.body, prefix) || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v %s", prefix, r.header, r.text())
		}
	}
	secret := made.body[strings.Index(made.body, "whsec_"):]
	secret = secret[:strings.IndexByte(secret, '<')]
	if got := b.get("/console/t/default/destinations/audit"); strings.Contains(got.body, secret) || strings.Contains(d.Log.String(), secret) {
		t.Error("the secret is shown again, or logged")
	}
}

func TestAnEventDestinationIsCreatedChangedAndRemoved(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleAdmin])
	wantText(t, want(t, 400, b.post("/console/t/default/new-destination", "id", "audit", "type", "webhook", "url", "http://hooks.example.com/")), "https")
	wantText(t, want(t, 400, b.post("/console/t/default/new-destination", "type", "webhook", "url", "https://hooks.example.com/")), "is required")
	want(t, 200, b.post("/console/t/default/new-destination", "id", "audit", "type", "webhook", "url", "https://hooks.example.com/", "events", "session.ended.\nkey.rotated"))
	wantText(t, want(t, 412, b.post("/console/t/default/new-destination", "id", "audit", "type", "webhook", "url", "https://hooks.example.com/")), "already exists")
	edit := want(t, 200, b.get("/console/t/default/destinations/audit/edit"))
	want(t, 303, b.post("/console/t/default/destinations/audit/edit", "type", "webhook", "url", "https://new.example.com/", "paused", "yes", "version", fieldValue(edit, "version")))
	wantText(t, want(t, 200, b.get("/console/t/default/destinations/audit")), "https://new.example.com/", "paused", "every type")
	want(t, 303, b.post("/console/t/default/destinations/audit", "do", "redeliver"))
	wantText(t, want(t, 400, b.post("/console/t/default/destinations/audit", "do", "redeliver", "since", "2999-01-01T00:00")), "is in the future")
	want(t, 303, b.post("/console/t/default/destinations/audit/delete", "confirm", "audit"))
	want(t, 404, b.get("/console/t/default/destinations/audit"))
}

func TestAKeyIsRotatedAndRetired(t *testing.T) {
	d := sqlite(t)
	d.SignIn("alice")
	b := d.signedIn(t, d.keys[models.RoleAdmin])
	want(t, 303, b.post("/console/t/default/keys"))
	wantText(t, b.get("/console/t/default/keys"), "announced", "is announced. It starts to sign")
	wantText(t, want(t, 409, b.post("/console/t/default/keys")), "is already announced")
	ring, err := d.Store.SigningKeys(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	at := "/console/t/default/keys/" + ring[0].Kid + "/retire"
	wantText(t, want(t, 200, b.get(at)), "The server refuses every access token that it has signed", "No session ends")
	want(t, 303, b.post(at, "confirm", ring[0].Kid))
	wantText(t, b.get("/console/t/default/keys"), "retired", ring[1].Kid)
	want(t, 404, b.get("/console/t/default/keys/unknown/retire"))
}

func TestTheExportIsAFile(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleAdmin])
	r := want(t, 200, b.post("/console/t/default/settings/export", "format", "yaml"))
	if !strings.HasPrefix(r.header.Get("Content-Disposition"), "attachment; filename=\"latchkey-default-") || !strings.Contains(r.body, "trusted_issuers:") || strings.Contains(r.body, "acme") {
		t.Errorf("%v %s", r.header, r.body)
	}
	d.SignIn("alice")
	r = want(t, 200, b.post("/console/t/default/sessions/export?user=alice"))
	if strings.Count(r.body, "\n") != 1 || !strings.Contains(r.body, `"user":"alice"`) || r.header.Get("Content-Type") != "application/jsonl" {
		t.Errorf("%v %s", r.header, r.body)
	}
}

func TestAnAdminKeyIsRevoked(t *testing.T) {
	d := sqlite(t)
	b, other := d.signedIn(t, d.keys[models.RoleOwner]), d.signedIn(t, d.keys[models.RoleViewer])
	at := "/console/t/default/settings/admin-keys/" + d.rows[models.RoleViewer].ID
	want(t, 303, b.post(at, "confirm", d.rows[models.RoleViewer].ID))
	want(t, 303, other.get("/console/t/default/sessions"))
	own := "/console/t/default/settings/admin-keys/" + d.rows[models.RoleOwner].ID
	wantText(t, want(t, 409, b.post(own, "confirm", d.rows[models.RoleOwner].ID)), "the last usable key with the role owner")
	wantText(t, want(t, 400, b.post("/console/t/default/settings/admin-keys", "name", "x", "role", "owner", "tenants", "default")), "must be left out: an owner")
}

// fieldValue returns the value of an input.
func fieldValue(r *response, name string) string {
	at := strings.Index(r.body, `name="`+name+`"`)
	if at < 0 {
		return ""
	}
	_, rest, _ := strings.Cut(r.body[at:], `value="`)
	value, _, _ := strings.Cut(rest, `"`)
	return html.UnescapeString(value)
}

// The stream ends when the operator signs out, and when the
// admin key is revoked.
func TestFollowingEventsEndsWithTheSession(t *testing.T) {
	d := sqlite(t)
	for name, end := range map[string]func(b *browser){
		"sign-out": func(b *browser) { want(t, 303, b.post("/console/sign-out")) },
		"revocation": func(*browser) {
			if _, err := d.Store.RevokeAdminKey(t.Context(), d.rows[models.RoleViewer].ID, false, false, models.Actor{Name: "cli"}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		key, row := d.NewAdminKey(oauth.AdminKeySpec{Name: "follower", Role: models.RoleViewer})
		d.rows[models.RoleViewer] = row
		b := d.signedIn(t, key)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.AdminURL+"/console/t/default/events/stream?type=session.created", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := b.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%s: %d %v", name, resp.StatusCode, resp.Header)
		}
		lines := bufio.NewScanner(resp.Body)
		next := func(prefix string) string {
			for lines.Scan() {
				if strings.HasPrefix(lines.Text(), prefix) {
					return lines.Text()
				}
			}
			return ""
		}
		if next(": connected") == "" {
			t.Fatalf("%s: the stream does not begin", name)
		}
		d.Clock.Advance(time.Second)
		d.SignIn("<b>erin</b>")
		if data := next("data: "); !strings.Contains(data, "Signed in") || !strings.Contains(data, "&lt;b&gt;erin") {
			t.Errorf("%s: the row is %s", name, data)
		}
		end(b)
		if next("event: end") == "" {
			t.Errorf("%s: the stream does not report its end", name)
		}
		if more := next("event: "); more != "" { // reads to the end of the response
			t.Errorf("%s: the stream continues with %s", name, more)
		}
	}
}

func TestTheEventOfARefusedTokenShowsItsChecks(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		e := models.Event{At: d.Clock.Now(), TenantID: "default", Type: models.EventClientTokenRefused, ClientID: "web", Details: map[string]any{
			"why": "subject_token_audience", "checks": []map[string]any{
				{"name": "grant", "outcome": "passed"}, {"name": "format", "outcome": "passed"}, {"name": "issuer", "outcome": "passed"},
				{"name": "audience", "outcome": "failed", "detail": "aud does not match", "expected": "https://id.example.com", "received": "<img src=x onerror=alert(1)>"},
			},
		}}
		if err := d.Store.AddEvent(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		page := want(t, 200, d.signedIn(t, d.keys[models.RoleViewer]).get("/console/t/default/events?type=client_token.refused"))
		wantText(t, page, "Failed check: Its audience", "Why aud does not match", "Expected https://id.example.com", "Received <img src=x onerror=alert(1)>")
		if strings.Contains(page.body, "<img src=x") || strings.Contains(page.text(), "checks {") {
			t.Errorf("the page is %s", page.body)
		}
	})
}
