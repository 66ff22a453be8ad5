package testconsole

import (
	"encoding/json"
	"html"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// settingNames returns the names of the settings that a struct stores. A setting with
// members has the names of its members.
func settingNames(of reflect.Type) (names []string) {
	for i := range of.NumField() {
		f := of.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		inside := f.Type
		if inside.Kind() == reflect.Pointer {
			inside = inside.Elem()
		}
		switch inside {
		case reflect.TypeFor[settings.SessionCap](), reflect.TypeFor[settings.EventSettings](), reflect.TypeFor[settings.IssuerKeys]():
			for _, member := range settingNames(inside) {
				names = append(names, name+"."+member)
			}
		default:
			names = append(names, name)
		}
	}
	return names
}

// has reports whether the page has a field, a box or a choice with the name.
func (r *response) has(name string) bool { return strings.Contains(r.body, ` name="`+name+`"`) }

// withoutField lists the settings that have no field of their name, with the reason.
var withoutField = map[string]string{
	"client allow":          "the tab Claims and policy has a field",
	"client claims":         "the tab Claims and policy has a field for each",
	"client auth":           "chosen when the client is created; a change breaks every copy of the app",
	"client previous_until": "belongs to a new secret, which has a page",
	"client disabled":       "Suspend does the same after a confirmation; there is a field while it is set",
	"issuer disabled":       "Suspend does the same after a confirmation; there is a field while it is set",
	"tenant disabled":       "Suspend does the same after a confirmation; there is a field while it is set",

	"issuer keys.discovery": "a choice of where the keys come from", "issuer keys.jwks_uri": "a choice of where the keys come from",
	"issuer keys.jwks": "a choice of where the keys come from", "issuer keys.internal": "a choice of where the keys come from", "issuer keys.pem": "a choice of where the keys come from",
}

// A new setting needs a field, or a reason why it has none.
func TestEverySettingHasAField(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleOwner])
	fill := inAcme(t, d)
	used := map[string]bool{}
	for _, c := range []struct {
		kind, path string
		of         reflect.Type
	}{
		{"client", clientsPath + "/web", reflect.TypeFor[settings.ClientSettings]()},
		{"issuer", fill("/console/t/acme/issuers/ISSUER"), reflect.TypeFor[settings.IssuerSettings]()},
		{"issuer", issuersPath + "/new", reflect.TypeFor[settings.IssuerSettings]()},
		{"tenant", "/console/t/acme/settings", reflect.TypeFor[settings.TenantSpec]()},
		{"destination", "/console/t/acme/new-destination", reflect.TypeFor[settings.DestinationSettings]()},
	} {
		page := want(t, 200, b.get(c.path))
		for _, name := range settingNames(c.of) {
			reason := c.kind + " " + name
			switch _, listed := withoutField[reason]; {
			case listed && page.has(name):
				t.Errorf("%s: %s is in the list and has a field", c.path, reason)
			case !listed && !page.has(name):
				t.Errorf("%s: the setting %s has no field", c.path, reason)
			case listed:
				used[reason] = true
			}
		}
	}
	for reason := range withoutField {
		if !used[reason] {
			t.Errorf("%s is in the list, and is no setting", reason)
		}
	}
	// What the reasons say.
	claims := want(t, 200, b.get(clientsPath+"/web/claims"))
	for _, name := range []string{"allow", "claim_name", "claim_value"} {
		if !claims.has(name) {
			t.Errorf("the tab Claims and policy has no field %s", name)
		}
	}
	if !b.get(clientsPath + "/backend/secret").has("previous_until") {
		t.Error("the page of a new secret has no field previous_until")
	}
	sources := b.get(issuersPath + "/new").body
	for _, name := range settingNames(reflect.TypeFor[settings.IssuerKeys]()) {
		if !strings.Contains(sources, `name="keys" value="`+name+`"`) {
			t.Errorf("keys.%s cannot be chosen", name)
		}
	}
}

// Every field below "More settings" is saved, shown, refused beside itself, and emptied.
func TestRarerSettingsAreSaved(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleOwner])
	fill := inAcme(t, d)
	attributes := "/console/t/acme/settings"
	want(t, 303, b.post(attributes, "searchable_attributes", "email plan", "events.retention", "60d", "store_device", "false", "acr", "low = true\nurn:x?=high = factors.exists(f, f.amr == 'hwk')", "version", b.get(attributes).version()))
	want(t, 303, b.post("/console/t/acme/issuers/new", "id", "corp", "issuer", "https://corp.example.com", "token_type", "id_token", "audiences", "latchkey", "subject_prefix", "corp:", "keys", "discovery"))
	for _, c := range []struct {
		path   string
		always []string // fields that must be sent
		fields []string
		stored string // the members that the fields become
		wrong  map[string]string
		text   string // of the faults
	}{
		{clientsPath + "/backend", []string{"grants", "token-exchange", "grants", "refresh", "grants", "client-credentials", "scopes", "a b"},
			[]string{"max_sessions_per_user.limit", "3", "max_sessions_per_user.when_full", "reject", "late_retry", "never", "max_lifetime", "90d", "default_scopes", "a", "access_token_typ", "JWT", "introspect", "all"},
			`{"max_sessions_per_user": {"limit": 3, "when_full": "reject"}, "late_retry": "never", "max_lifetime": "90d", "default_scopes": ["a"], "access_token_typ": "JWT", "introspect": "all"}`,
			map[string]string{"max_sessions_per_user.limit": "many", "max_lifetime": "soon", "default_scopes": "c"}, "must be"},
		{clientsPath + "/web", []string{"grants", "token-exchange", "grants", "refresh", "session_token", "true", "allow_public_session_token", "true"},
			[]string{"default_scopes-none", "true"}, `{"default_scopes": []}`, nil, ""},
		{fill("/console/t/acme/issuers/ISSUER"), []string{"issuer", d.issuer.URL, "token_type", "jwt", "algorithms", "ES256", "user_attributes", "email = token.email"},
			[]string{"typ", "client+jwt", "leeway", "7s", "amr", "['pwd']", "asserts", "amr", "max_acr", "low", "public_clients", "false", "create_users", "false", "share_subjects", "true",
				"may_revoke", "true", "revocation_typ", "global-token-revocation+jwt", "revocation_callers", "a b", "revocation_email_attribute", "email", "security_event_audience", "https://id.example.com/events",
				"allow_private_addresses", "true"},
			`{"typ": "client+jwt", "leeway": "7s", "amr": "['pwd']", "asserts": ["amr"], "max_acr": "low", "public_clients": false, "create_users": false, "share_subjects": true, "may_revoke": true,
			  "revocation_typ": "global-token-revocation+jwt", "revocation_callers": ["a", "b"], "revocation_email_attribute": "email", "security_event_audience": "https://id.example.com/events",
			  "allow_private_addresses": true}`,
			map[string]string{"leeway": "soon", "max_acr": "unknown", "amr": "usr"}, "undeclared reference to 'usr'"},
		{"/console/t/acme/issuers/corp", []string{"issuer", "https://corp.example.com", "token_type", "id_token", "audiences", "latchkey", "subject_prefix", "corp:"},
			[]string{"backchannel_logout", "true", "untyped_logout_tokens", "true"}, `{"backchannel_logout": true, "untyped_logout_tokens": true}`, nil, ""},
	} {
		stored := func() map[string]any { return want(t, 200, b.get(c.path)).document(t) }
		same := func(what string, got map[string]any, members string) {
			t.Helper()
			var wanted map[string]any
			if err := json.Unmarshal([]byte(members), &wanted); err != nil {
				t.Fatal(err)
			}
			for name, value := range wanted {
				if !reflect.DeepEqual(got[name], value) {
					t.Errorf("%s, %s: %s is %v, want %v", c.path, what, name, got[name], value)
				}
			}
		}
		post := func(version string, fields ...string) *response {
			return b.post(c.path, append(append([]string{"version", version}, c.always...), fields...)...)
		}
		if a := post(b.get(c.path).version(), c.fields...); a.status != 303 {
			t.Fatalf("%s: %d %v", c.path, a.status, a.errors())
		}
		same("saved", stored(), c.stored)
		page := b.get(c.path)
		wantText(t, page, "More settings (")
		// Sending the same again changes nothing.
		want(t, 303, post(page.version(), c.fields...))
		wantText(t, b.get(c.path), "Nothing was changed.")
		for name, value := range c.wrong {
			fields := append([]string{}, c.fields...)
			for i := 0; i < len(fields); i += 2 {
				if fields[i] == name {
					fields[i+1] = value
				}
			}
			refused := want(t, 400, post(page.version(), fields...))
			wantText(t, refused, "Correct what is marked below.")
			at := strings.Index(refused.body, ` name="`+name+`"`)
			if rest := refused.body[at:]; at < 0 || !strings.Contains(rest[:strings.Index(rest, "</div>")], `class="error"`) || !strings.Contains(refused.body, `<details class="rarer" open>`) {
				t.Errorf("%s: the fault of %s is not beside it: %s", c.path, name, refused.text())
			}
			if name == "amr" {
				wantText(t, refused, c.text)
			}
		}
		// Without the fields, the defaults come back.
		want(t, 303, post(page.version()))
		var names map[string]any
		_ = json.Unmarshal([]byte(c.stored), &names)
		after := stored()
		for name := range names {
			if value, is := after[name]; is && value != false {
				t.Errorf("%s: %s is still %v", c.path, name, value)
			}
		}
	}
}

func TestASettingOfAnOwnerIsLockedForOthers(t *testing.T) {
	d := sqlite(t)
	owner, admin := d.signedIn(t, d.keys[models.RoleOwner]), d.signedIn(t, d.keys[models.RoleAdmin])
	form := []string{"id", "auth", "issuer", "https://auth.example.com", "token_type", "jwt", "subject_prefix", "auth:", "keys", "discovery"}
	want(t, 403, admin.post(issuersPath+"/new", append(form, "allow_private_addresses", "true")...))
	want(t, 303, owner.post(issuersPath+"/new", append(form, "allow_private_addresses", "true")...))
	page := want(t, 200, admin.get(issuersPath+"/auth"))
	if !strings.Contains(page.body, `name="allow_private_addresses" value="true" checked disabled>`) {
		t.Error("an admin can change allow_private_addresses")
	}
	// A browser does not send the locked field, and it stays.
	want(t, 303, admin.post(issuersPath+"/auth", "version", page.version(), "issuer", "https://auth.example.com", "token_type", "jwt", "subject_prefix", "auth:", "max_age", "2m"))
	if doc := owner.get(issuersPath + "/auth").document(t); doc["allow_private_addresses"] != true || doc["max_age"] != "2m" {
		t.Errorf("the settings are %v", doc)
	}
}

// A default that somebody has written stays as it is written.
func TestAWrittenDefaultIsNoChange(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleOwner])
	fill := inAcme(t, d)
	for path, c := range map[string]struct {
		defaults map[string]any
		form     []string
	}{
		clientsPath + "/backend":               {map[string]any{"introspect": "audience", "max_sessions_per_user": map[string]any{"limit": 2, "when_full": "end_oldest"}, "origins": []string{}}, []string{"grants", "token-exchange", "grants", "refresh", "grants", "client-credentials", "max_sessions_per_user.limit", "2"}},
		fill("/console/t/acme/issuers/ISSUER"): {map[string]any{"public_clients": true, "share_subjects": false}, []string{"issuer", d.issuer.URL, "token_type", "jwt", "algorithms", "ES256"}},
	} {
		page := b.get(path)
		doc := page.document(t)
		for _, name := range []string{"name", "scopes", "audiences", "user_attributes", "manage_sessions", "session_token"} {
			delete(doc, name)
		}
		for name, value := range c.defaults {
			doc[name] = value
		}
		text, _ := json.Marshal(doc)
		want(t, 303, b.post(path+"/document", "document", string(text), "version", page.version()))
		page = b.get(path)
		want(t, 303, b.post(path, append(c.form, "version", page.version())...))
		if after := b.get(path); !strings.Contains(after.text(), "Nothing was changed.") {
			t.Errorf("%s: it became %v", path, after.document(t))
		}
	}
}

// Disabling ends sessions, so it takes the page that confirms a suspension; enabling is
// a field.
func TestWhatIsDisabledCanBeEnabled(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleOwner])
	page := b.get(clientsPath + "/web")
	if page.has("disabled") {
		t.Error("a client that is enabled has the field disabled")
	}
	doc := page.document(t)
	doc["disabled"] = true
	text, _ := json.Marshal(doc)
	want(t, 303, b.post(clientsPath+"/web/document", "document", string(text), "version", page.version()))
	page = b.get(clientsPath + "/web")
	if !page.has("disabled") {
		t.Fatal("a client that is disabled has no field disabled")
	}
	want(t, 303, b.post(clientsPath+"/web", "version", page.version(), "grants", "token-exchange", "grants", "refresh"))
	if doc := b.get(clientsPath + "/web").document(t); doc["disabled"] == true {
		t.Error("the client is still disabled")
	}
}

// A form that was refused because another operator has changed the object keeps the
// version that was read, so that sending it again does not undo that change.
func TestARefusedFormDoesNotUndoAnotherChange(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleOwner])
	fill := inAcme(t, d)
	for path, form := range map[string][]string{
		clientsPath + "/web":                   {"grants", "token-exchange", "name", "Shop"},
		fill("/console/t/acme/issuers/ISSUER"): {"issuer", d.issuer.URL, "token_type", "jwt", "algorithms", "ES256", "max_age", "2m"},
		"/console/t/acme/settings":             {"key_rotation", "40d"},
	} {
		read := b.get(path)
		want(t, 303, b.post(path, append(form, "version", read.version())...))
		form[len(form)-1] += "0"
		for range 2 {
			refused := want(t, 412, b.post(path, append(form, "version", read.version())...))
			if refused.version() != read.version() {
				t.Errorf("%s: the form has the version of a change that the operator has not read", path)
			}
		}
		document := want(t, 412, b.post(path+"/document", "document", "{}", "version", read.version()))
		if document.version() != read.version() {
			t.Errorf("%s: the JSON form has the version of a change that the operator has not read", path)
		}
	}
}

// A client without users has no field for their sessions, and keeps what is stored.
func TestAnAPIKeepsTheSettingsItsFormDoesNotShow(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleOwner])
	want(t, 200, b.post(clientsPath+"/new", "kind", "api", "id", "orders"))
	path := clientsPath + "/orders"
	page := b.get(path)
	doc := page.document(t)
	doc["absolute_lifetime"] = "14d"
	text, _ := json.Marshal(doc)
	want(t, 303, b.post(path+"/document", "document", string(text), "version", page.version()))
	page = b.get(path)
	if page.has("absolute_lifetime") || page.has("late_retry") {
		t.Error("an API has fields for the sessions of users")
	}
	want(t, 303, b.post(path, "version", page.version(), "grants", "client-credentials", "name", "Orders"))
	if doc := b.get(path).document(t); doc["absolute_lifetime"] != "14d" || doc["name"] != "Orders" {
		t.Errorf("the settings are %v", doc)
	}
}

// errors returns the faults that the page shows.
func (r *response) errors() (list []string) {
	for _, found := range regexp.MustCompile(`(?s)class="error">(.*?)<|Nothing was changed.</strong>(.*?)</div>`).FindAllStringSubmatch(r.body, -1) {
		list = append(list, html.UnescapeString(found[1]+found[2]))
	}
	return list
}
