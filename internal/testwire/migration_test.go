package testwire

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// closedAudiences is the setting by which docs/migrate.md closes an entry.
const closedAudiences = "audiences: [closed]"

// A migration is a page that tells users of a hosted service how to move live sessions.
type migration struct {
	name      string
	page      string
	block     int    // which YAML block of the page
	host      string // of the service, replaced by the stand-in
	discovery bool   // the keys come from discovery, so the issuer moves too
	algorithm string
	client    string

	claims   map[string]any // of a token of the documented shape, without times
	user     string
	want     map[string]any // claims of the access token
	rejected []alteration
}

// An alteration of a token must lead to a refusal with the reason.
type alteration struct {
	name   string
	header map[string]any
	claims map[string]any // null removes a claim
	reason string
}

const (
	stytchProject  = "project-live-00000000-0000-0000-0000-000000000000"
	stytchSession  = "https://stytch.com/session"
	authsignalApp  = "46e10ac5-cb9c-458f-ad86-0f698f67b365"
	auth0App       = "AbCdEfGhIjKlMnOpQrStUvWxYz012345"
	supabaseIssuer = "https://abcdefghijklmnopqrst.supabase.co/auth/v1"
	supabaseUser   = "123e4567-e89b-12d3-a456-426614174000"
	supabaseSecret = "the-legacy-jwt-secret-of-a-supabase-project"
)

// supabaseClaims are those of https://supabase.com/docs/guides/auth/jwt-fields.
func supabaseClaims() map[string]any {
	return map[string]any{
		"iss": supabaseIssuer, "aud": "authenticated", "sub": supabaseUser, "role": "authenticated", "aal": "aal2",
		"session_id": "7b1f6f0c-3a57-4f34-8d9c-2c4d6a5a1b11", "email": "jane@example.com", "phone": "", "is_anonymous": false,
		"app_metadata": map[string]any{"provider": "email", "role": "editor"}, "user_metadata": map[string]any{"role": "admin"},
		"amr": []any{map[string]any{"method": "totp", "timestamp": 1640991600}, map[string]any{"method": "password", "timestamp": 1640991000}},
	}
}

func migrations() []migration {
	oauthToken := alteration{name: "a token of another application", claims: map[string]any{"client_id": "9a8b7c6d-5e4f-3a2b-1c0d-9e8f7a6b5c4d"}, reason: "subject_token_subject"}
	return []migration{{
		name: "Stytch", page: "migrate-stytch.md", host: "https://api.stytch.com", algorithm: "RS256", client: "web",
		claims: map[string]any{
			"iss": "stytch.com/" + stytchProject, "aud": []any{stytchProject}, "sub": "user-live-1",
			stytchSession: map[string]any{
				"id": "session-live-1", "started_at": "2026-11-01T09:41:40Z", "last_accessed_at": "2026-11-30T09:41:40Z", "expires_at": "2026-12-31T09:41:40Z",
				"attributes": map[string]any{"ip_address": "203.0.113.1", "user_agent": "Mozilla/5.0"},
				"authentication_factors": []any{
					map[string]any{"type": "password", "delivery_method": "knowledge", "last_authenticated_at": "2026-11-01T09:41:40Z"},
					map[string]any{"type": "otp", "delivery_method": "sms", "last_authenticated_at": "2026-11-01T09:41:40Z", "phone_number_factor": map[string]any{"phone_number": "+15550100"}},
					map[string]any{"type": "magic_link", "delivery_method": "email", "last_authenticated_at": "2026-11-01T09:41:40Z", "email_factor": map[string]any{"email_address": "jane@example.com", "email_id": "email-live-1"}},
				},
			},
		},
		user: "user-live-1",
		want: map[string]any{"amr": []any{"pwd", "sms", "magic_link"}, "acr": "urn:latchkey:acr:2", "email": "jane@example.com"},
		rejected: []alteration{
			{name: "another project", claims: map[string]any{"aud": []any{"project-live-2"}}, reason: "subject_token_audience"},
			{name: "a token of a machine", claims: map[string]any{"sub": "m2m-client-live-1", "scope": "read:users", stytchSession: nil}, reason: "subject_token_subject"},
		},
	}, {
		name: "Authsignal", page: "migrate-authsignal.md", host: "https://api.authsignal.com", algorithm: "RS256", client: "backend",
		claims: map[string]any{"iss": "https://api.authsignal.com/v1", "aud": authsignalApp, "sub": "dc58c6dc-a1fd-4a4f-8e2f-846636dd4833", "email": "jane@example.com"},
		user:   "dc58c6dc-a1fd-4a4f-8e2f-846636dd4833",
		want:   map[string]any{"amr": nil, "acr": nil, "email": "jane@example.com"},
		rejected: []alteration{
			{name: "another app client", claims: map[string]any{"aud": "64818035-68c3-4087-a449-bdd176a166c4"}, reason: "subject_token_audience"},
		},
	}, {
		name: "Auth0", page: "migrate-auth0.md", host: "https://example.us.auth0.com", discovery: true, algorithm: "RS256", client: "web",
		claims: map[string]any{
			"iss": "https://example.us.auth0.com/", "aud": auth0App, "sub": "auth0|5f7c8ec7c33c6c004bbafe82", "sid": "IkR5", "nonce": "n",
			"email": "jane@example.com", "email_verified": true, "name": "Jane", "https://example.com/roles": []any{"editor"},
		},
		user: "auth0|5f7c8ec7c33c6c004bbafe82",
		want: map[string]any{"amr": nil, "acr": nil, "email": "jane@example.com", "roles": []any{"editor"}},
		rejected: []alteration{
			{name: "the ID token of another application", claims: map[string]any{"aud": "another-application"}, reason: "subject_token_audience"},
			{name: "an access token", claims: map[string]any{"aud": []any{"https://api.example.com", "https://example.us.auth0.com/userinfo"}, "azp": auth0App}, reason: "subject_token_audience"},
			{name: "an access token of the RFC 9068 profile", header: map[string]any{"typ": "at+jwt"}, reason: "subject_token_typ"},
		},
	}, {
		name: "Supabase", page: "migrate-supabase.md", host: "https://abcdefghijklmnopqrst.supabase.co", algorithm: "ES256", client: "web",
		claims: supabaseClaims(), user: supabaseUser,
		want: map[string]any{"amr": []any{"otp", "pwd"}, "acr": "urn:latchkey:acr:2", "email": "jane@example.com", "role": "editor"},
		rejected: []alteration{
			{name: "another audience", claims: map[string]any{"aud": "anon"}, reason: "subject_token_audience"},
			{name: "an anonymous user", claims: map[string]any{"is_anonymous": true}, reason: "subject_token_subject"},
			oauthToken,
		},
	}, {
		name: "Supabase with its legacy secret", page: "migrate-supabase.md", block: 1, algorithm: "HS256", client: "web",
		claims: without(supabaseClaims(), "amr"), user: supabaseUser,
		want: map[string]any{"amr": nil, "acr": nil},
		rejected: []alteration{
			{name: "an API key", claims: map[string]any{"iss": "supabase", "sub": nil, "role": "anon"}, reason: "subject_token_issuer"},
			oauthToken,
		},
	}}
}

func without(claims map[string]any, name string) map[string]any {
	delete(claims, name)
	return claims
}

func TestThePagesForHostedServicesMoveLiveSessions(t *testing.T) {
	for _, m := range migrations() {
		t.Run(m.name, func(t *testing.T) {
			d := newMigrated(t, m)
			token := d.token(t, alteration{})
			moved := d.exchange(token)
			if moved.Status != http.StatusOK {
				t.Fatalf("status %d %s", moved.Status, moved.Body)
			}
			claims := testserver.JWTPart(t, moved.Text("access_token"), 1)
			if claims["sub"] != m.user {
				t.Errorf("sub is %v, want %s", claims["sub"], m.user)
			}
			for name, want := range m.want {
				if got := claims[name]; !reflect.DeepEqual(got, want) {
					t.Errorf("%s is %v, want %v", name, got, want)
				}
			}
			if again := d.exchange(token); again.Text("latchkey_reason") != "subject_token_spent" {
				t.Errorf("the same token again: %d %s", again.Status, again.Body)
			}
			for _, a := range append(m.rejected, alteration{"a token of two minutes ago", nil, map[string]any{"iat": d.Clock.Now().Unix() - 120}, "subject_token_too_old"}) {
				if got := d.exchange(d.token(t, a)); got.Status != http.StatusBadRequest || got.Text("latchkey_reason") != a.reason {
					t.Errorf("%s: %d %s, want %s", a.name, got.Status, got.Body, a.reason)
				}
			}
		})
	}
}

func TestAClosedEntryKeepsTheSessionsThatItOpened(t *testing.T) {
	page, err := os.ReadFile("../../docs/migrate.md")
	must(t, err)
	if !strings.Contains(string(page), closedAudiences) {
		t.Fatalf("docs/migrate.md has no %q", closedAudiences)
	}
	d := newMigrated(t, migrations()[0])
	moved := d.exchange(d.token(t, alteration{}))

	closed := replace(t, d.settings, "audiences: ["+stytchProject+"]", closedAudiences)
	d.apply(t, closed)
	if late := d.exchange(d.token(t, alteration{})); late.Text("latchkey_reason") != "subject_token_audience" {
		t.Errorf("a token after the entry was closed: %d %s", late.Status, late.Body)
	}
	kept := d.Refresh("", "web", moved.Text("refresh_token"))
	if kept.Status != http.StatusOK {
		t.Fatalf("refresh after the entry was closed: %d %s", kept.Status, kept.Body)
	}
	claims := testserver.Claims(t, kept)
	if claims["email"] != "jane@example.com" || claims["acr"] != "urn:latchkey:acr:2" {
		t.Errorf("claims after the entry was closed: %v", claims)
	}

	d.apply(t, replace(t, closed, "- id: stytch\n", "- id: stytch\n        disabled: true\n"))
	if ended := d.Refresh("", "web", kept.Text("refresh_token")); ended.Error() != "invalid_grant" {
		t.Errorf("refresh after the entry was disabled: %d %s", ended.Status, ended.Body)
	}
}

// migrated is a server with the settings of a page, and a stand-in for the service.
type migrated struct {
	*testserver.Server
	migration
	settings string // YAML
	issuer   string // replaces iss
}

func newMigrated(t *testing.T, m migration) *migrated {
	t.Helper()
	service := hostedService(t)
	d := &migrated{migration: m, Server: testserver.New(t, testserver.Options{DatabaseURL: testdb.SQLite(t)})}
	d.settings = yamlBlock(t, m.page, m.block)
	if m.discovery {
		d.settings = replace(t, d.settings, m.host, service)
		d.issuer = service + "/"
	} else if m.host != "" {
		d.settings = replace(t, d.settings, `jwks_uri: "`+m.host, `jwks_uri: "`+service)
	}
	if m.host != "" { // the stand-in is on loopback
		d.settings = replace(t, d.settings, "        token_type: id_token", "        allow_private_addresses: true\n        token_type: id_token")
	}
	d.apply(t, d.settings)
	return d
}

func replace(t *testing.T, text, before, after string) string {
	t.Helper()
	if strings.Count(text, before) != 1 {
		t.Fatalf("the settings do not contain %q once:\n%s", before, text)
	}
	return strings.Replace(text, before, after, 1)
}

// apply applies a configuration file.
func (d *migrated) apply(t *testing.T, text string) {
	t.Helper()
	folder := t.TempDir()
	for name, secret := range map[string]string{"backend-secret": testserver.ClientSecret, "supabase-jwt-secret": supabaseSecret} {
		must(t, os.WriteFile(filepath.Join(folder, name), []byte(secret), 0o600))
	}
	file := filepath.Join(folder, "latchkey.yaml")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	c, faults, err := config.Load(file, nil)
	must(t, err)
	if len(faults) > 0 {
		t.Fatalf("docs/%s: %v", d.page, faults)
	}
	d.Apply(c.Tenants...)
}

// yamlBlock returns the n-th YAML block of a page.
func yamlBlock(t *testing.T, page string, n int) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	must(t, err)
	parts := strings.Split(string(text), "\n```yaml\n")
	if len(parts) < n+2 {
		t.Fatalf("docs/%s has %d YAML blocks", page, len(parts)-1)
	}
	block, _, _ := strings.Cut(parts[n+1], "\n```\n")
	return block + "\n"
}

// hostedService starts a server that publishes the keys of testserver.Signers at every
// path, and metadata that refers to them.
func hostedService(t *testing.T) string {
	t.Helper()
	set := jose.JSONWebKeySet{}
	for _, s := range testserver.Signers()[:4] {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.Public, KeyID: s.Algorithm, Algorithm: s.Algorithm, Use: "sig"})
	}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if before, found := strings.CutSuffix(r.URL.Path, ".well-known/openid-configuration"); found {
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, server.URL+before, server.URL+before+".well-known/jwks.json")
			return
		}
		if err := json.NewEncoder(w).Encode(set); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// token signs a new token of the documented shape, altered.
func (d *migrated) token(t *testing.T, a alteration) string {
	t.Helper()
	now := d.Clock.Now().Unix()
	claims := map[string]any{"iat": now, "exp": now + 300}
	maps.Copy(claims, d.claims)
	if d.issuer != "" {
		claims["iss"] = d.issuer
	}
	for name, value := range a.claims {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	header := map[string]any{"alg": d.algorithm, "typ": "JWT", "kid": d.algorithm}
	maps.Copy(header, a.header)
	top, err := json.Marshal(header)
	must(t, err)
	payload, err := json.Marshal(claims)
	must(t, err)
	if d.algorithm == "HS256" {
		return testserver.Forge(string(top), string(payload), testserver.HS256([]byte(supabaseSecret)))
	}
	for _, s := range testserver.Signers() {
		if s.Algorithm == d.algorithm {
			return testserver.Forge(string(top), string(payload), s.Sign)
		}
	}
	t.Fatalf("no key for %s", d.algorithm)
	return ""
}

// exchange exchanges a token as the client of the page.
func (d *migrated) exchange(token string) *testserver.Answer {
	form := []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeIDToken, "subject_token", token}
	if d.client == "backend" {
		return d.Post("/token", form, testserver.AsBackend())
	}
	return d.Post("/token", append(form, "client_id", d.client))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
