package testadmin

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
	"github.com/latchkey/latchkey/settings/decode"
)

// wholeConfiguration is a configuration with an object of each kind.
func wholeConfiguration(d *deployment) []object {
	client := everyClientSetting()
	delete(client, "previous_until") // becomes a time
	issuer := with(everyIssuerSetting(), object{"max_acr": "urn:example:one", "keys": object{"jwks": json.RawMessage(d.Issuer.JWKS())}})
	return []object{{
		"id": "same", "signing_algorithm": "ES256", "store_device": false, "key_rotation": "80d", "events": object{"retention": "30d"}, "searchable_attributes": []string{"email", "plan"}, "acr": []object{{"value": "urn:example:one", "when": "size(amr) > 0"}},
		"clients": []object{
			with(client, object{"id": "every", "scopes": []string{"a", "b", "ssf.read"}}),
			{"id": "web", "auth": "none", "grants": []string{"token-exchange", "refresh"}, "preset": "consumer", "name": "Wéb 😀 <&>"},
		},
		"trusted_issuers": []object{
			with(issuer, object{"id": "every"}),
			{"id": "shared", "issuer": "https://shared.example.com", "token_type": "jwt", "subject_prefix": "shared:", "keys": object{"shared_secret": strings.Repeat("k", 40)}},
		},
		"event_destinations": []object{
			{"id": "hooks", "type": "webhook", "url": "https://hooks.example.com/in", "events": []string{"session.", "key.rotated"}, "paused": true, "description": "Our own", "secret": webhookSecret},
			{"id": "siem", "type": "set_push", "url": "https://siem.example.com/events", "audience": "https://siem.example.com", "subject": "iss_sub", "client": "every", "secret": "Bearer xyz"},
			{"id": "polled", "type": "set_poll", "client": "every"},
		},
		"users": []object{{"sub": "alice", "attributes": object{"plan": "pro", "n": 1, "list": []any{1, "a", nil}}}, {"sub": "bob/x", "disabled": true}},
	}}
}

// specs decodes a configuration as a file is decoded.
func specs(t *testing.T, tenants []object) []settings.TenantSpec {
	t.Helper()
	text, err := json.Marshal(object{"tenants": tenants})
	if err != nil {
		t.Fatal(err)
	}
	document, err := decode.YAML(text)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tenants []settings.TenantSpec `yaml:"tenants"`
	}
	faults, err := document.Into("", &file)
	if err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	return file.Tenants
}

// differs lists the columns that differ between deployments with the same configuration:
// times, random ids and sealed values. The test compares secrets by using them.
var differs = []string{"created_at", "updated_at", "previous_until", "seen_at", "revision", "id", "named_at", "mapped_since", "previous_secret_until", "forget_devices_at",
	"sealed_secret", "secret_digest", "previous_secret_digest", "root_version", "previous_secret_root_version", "secret_root_version", "secret_set_at"}

// configuration returns the rows of the tenant same, without the columns that differ.
func (d *deployment) configuration(t *testing.T) string {
	t.Helper()
	d.Clock.Advance(time.Minute)
	if err := d.Store.IndexAttributes(t.Context()); err != nil {
		t.Fatal(err)
	}
	db := testserver.OpenDatabase(t, d.DatabaseURL)
	var all []string
	for _, table := range []string{"tenants", "clients", "trusted_issuers", "users", "user_attributes", "event_destinations"} {
		where := " WHERE tenant_id = 'same'"
		if table == "tenants" {
			where = " WHERE id = 'same'"
		}
		rows, err := db.Query("SELECT * FROM " + table + where)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				t.Fatal(err)
			}
			line := table
			for i, value := range values {
				if columns[i] == "authenticated_after" { // a user who was disabled after the creation has one
					continue
				}
				if slices.Contains(differs, columns[i]) && !(columns[i] == "id" && (table == "clients" || table == "event_destinations")) {
					value = value != nil // that there is one must agree
				}
				if text, is := value.([]byte); is {
					value = string(text)
				}
				line += fmt.Sprintf("\n  %s = %v", columns[i], value)
			}
			all = append(all, strings.ReplaceAll(line, `"file"`, `"operator"`)) // who set an attribute
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func TestFileApplyAndSingleCallsWriteTheSameRows(t *testing.T) {
	eachDatabase(t, func(t *testing.T, first *deployment) {
		tenants := wholeConfiguration(first)
		ways := []struct {
			name string
			make func(d *deployment)
		}{
			{"the file of serve", func(d *deployment) {
				d.serveFile(t, specs(t, tenants)...)
			}},
			{"apply of the command", func(d *deployment) {
				d.applySpecs(t, specs(t, tenants), models.ApplyOptions{Actor: models.Actor{Name: "cli", Role: models.RoleMachine}})
			}},
			{"apply of the API", func(d *deployment) { want(t, 200, d.call(t, d.owner, "POST", "/apply", object{"tenants": tenants})) }},
			{"single calls", func(d *deployment) { d.putAll(t, tenants) }},
			{"patches of little", func(d *deployment) { d.patchAll(t, tenants) }},
		}
		var wanted string
		for i, way := range ways {
			d := first
			if i > 0 {
				d = newDeployment(t, sameEngine(t, first.DatabaseURL))
			}
			way.make(d)
			if got := d.configuration(t); wanted == "" {
				wanted = got
			} else if got != wanted {
				t.Errorf("%s makes\n%s\n%s makes\n%s", way.name, got, ways[0].name, wanted)
			}
			row, err := d.Store.StoredClient(t.Context(), "same", "every")
			if err != nil {
				t.Fatal(err)
			}
			if !d.Keys.MatchClientSecret("same", "every", strings.Repeat("s", 40), row.Row.SecretDigest) || !d.Keys.MatchClientSecret("same", "every", strings.Repeat("p", 40), row.Row.PreviousDigest) {
				t.Errorf("%s: the secrets do not match", way.name)
			}
			d.reload(t)
			// Every way yields the same export, and applying it changes nothing.
			export := want(t, 200, d.call(t, d.owner, "GET", "/export?tenant=same&users=true", nil, header("Accept", "application/yaml")))
			if way.name == "the file of serve" {
				continue
			}
			done := want(t, 200, d.call(t, d.owner, "POST", "/apply?dry_run=true", string(export.Body), contentType("application/yaml")))
			if changes := list(done.JSON["changes"]); len(changes) > 0 {
				t.Errorf("%s: applying the export would change %s", way.name, jsonOf(changes))
			}
		}
	})
}

func (d *deployment) applySpecs(t *testing.T, tenants []settings.TenantSpec, o models.ApplyOptions) {
	t.Helper()
	if faults := append(settings.ValidateTenants(tenants, d.URL), oauth.CheckTenants(tenants)...); len(faults) > 0 {
		t.Fatal(faults)
	}
	if _, err := d.Store.Apply(t.Context(), tenants, d.Keys, o); err != nil {
		t.Fatal(err)
	}
}

// eachObject calls do with the path and the settings of each object of a configuration.
func eachObject(tenants []object, do func(path string, body object)) {
	for _, tenant := range tenants {
		path := "/tenants/" + tenant["id"].(string)
		own := with(tenant, nil)
		for _, key := range []string{"clients", "trusted_issuers", "users", "event_destinations"} {
			delete(own, key)
		}
		do(path, own)
		for _, key := range []string{"clients", "trusted_issuers", "users", "event_destinations"} {
			for _, body := range tenant[key].([]object) {
				id, _ := body["id"].(string)
				if key == "users" {
					id = strings.ReplaceAll(body["sub"].(string), "/", "%2F")
				}
				do(path+"/"+strings.ReplaceAll(key, "_", "-")+"/"+id, body)
			}
		}
	}
}

func (d *deployment) putAll(t *testing.T, tenants []object) {
	t.Helper()
	eachObject(tenants, func(path string, body object) { want(t, 201, d.call(t, d.owner, "PUT", path, body)) })
}

// patchAll creates each object with its required settings, and then sets the others one
// by one.
func (d *deployment) patchAll(t *testing.T, tenants []object) {
	t.Helper()
	required := []string{"id", "sub", "auth", "grants", "secret", "type", "url", "client", "issuer", "token_type", "keys", "revocation_typ", "subject_prefix", "algorithms", "preset", "access_token_ttl", "absolute_lifetime", "previous_secret", "signing_algorithm", "scopes"}
	eachObject(tenants, func(path string, body object) {
		first := object{}
		for _, key := range required {
			if value, has := body[key]; has {
				first[key] = value
			}
		}
		want(t, 201, d.call(t, d.owner, "PUT", path, first))
		for _, key := range slices.Sorted(maps.Keys(body)) {
			if !slices.Contains(required, key) {
				want(t, 200, d.call(t, d.owner, "PATCH", path, object{key: body[key]}))
			}
		}
	})
}
