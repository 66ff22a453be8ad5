package testadmin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// coverage records which statuses and members of the document the tests have seen.
type coverage struct {
	mu       sync.Mutex
	statuses map[string]bool // operation and status
	members  map[string]bool // schema and member
}

func newCoverage() *coverage {
	return &coverage{statuses: map[string]bool{}, members: map[string]bool{}}
}

func (c *coverage) add(op *operation, body []byte, a *testserver.Answer) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statuses[fmt.Sprintf("%s %d", op.id, a.Status)] = true
	mark := func(member string) { c.members[member] = true }
	var sent, received any
	if json.Unmarshal(body, &sent) == nil && a.Status < 300 {
		theDocument().members(op.body, sent, "", mark)
	}
	if json.Unmarshal(a.Body, &received) == nil {
		theDocument().members(op.answers[fmt.Sprint(a.Status)], received, "", mark)
	}
}

// everyClientSetting returns every setting of a client, with a value.
func everyClientSetting() object {
	return object{
		"name": "Every setting", "auth": "secret", "grants": []string{"token-exchange", "refresh", "client-credentials"}, "preset": "mobile",
		"access_token_ttl": "4m", "absolute_lifetime": "20d", "inactivity_timeout": "5d", "refresh_grace": "20s", "late_retry": "never",
		"max_sessions_per_user": object{"limit": 3, "when_full": "reject"}, "allow": "token.sub != 'mallory'", "claims": object{"plan": "user.?plan.orValue('free')"},
		"scopes": []string{"a", "b"}, "default_scopes": []string{"a"}, "audiences": []string{"https://api.example.com"},
		"resource_identifiers": []string{"https://every.example.com"}, "introspect": "all", "origins": []string{"https://every.example.com"},
		"session_token": true, "allow_public_session_token": false, "access_token_typ": "at+jwt", "manage_sessions": true, "mint_client_tokens": true, "max_lifetime": "60d",
		"status_list": true, "previous_until": "3d", "disabled": false,
		"secret": strings.Repeat("s", 40), "previous_secret": strings.Repeat("p", 40),
	}
}

// everyIssuerSetting returns every setting of a trusted issuer, with a value.
func everyIssuerSetting() object {
	return object{
		"issuer": "https://every.example.com", "token_type": "jwt", "algorithms": []string{"ES256"}, "audiences": []string{"https://aud.example.com"},
		"typ": "example+jwt", "max_age": "4m", "max_token_lifetime": "8m", "leeway": "10s", "subject": "token.sub", "user_attributes": object{"email": "token.email"},
		"session_attributes": object{"org": "token.org"}, "amr": "token.amr", "asserts": []string{"amr", "auth_time"}, "max_acr": "phr",
		"clients": []string{"web"}, "public_clients": true, "create_users": true, "subject_prefix": "every:", "share_subjects": false,
		"may_revoke": true, "revocation_typ": "global-token-revocation+jwt", "revocation_callers": []string{"caller"}, "security_event_audience": "https://aud.example.com/events",
		"backchannel_logout": false, "untyped_logout_tokens": false, "revocation_email_attribute": "email",
		"allow_private_addresses": false, "disabled": false,
	}
}

func with(o object, more object) object {
	o = maps.Clone(o)
	maps.Copy(o, more)
	return o
}

// callEveryOperation calls every operation successfully.
func callEveryOperation(t *testing.T, d *deployment) {
	ok := func(status int, method, path string, body any, options ...option) *testserver.Answer {
		t.Helper()
		a := d.call(t, d.owner, method, path, body, options...)
		if a.Status != status {
			t.Errorf("%s %s: status %d %s, want %d", method, path, a.Status, a.Body, status)
		}
		return a
	}
	const tenant = "/tenants/default"
	ok(200, "GET", "/self", nil)

	// Tenants
	every := object{"signing_algorithm": "ES256", "key_rotation": "80d", "disabled": false, "store_device": true, "user_retention": "400d", "events": object{"retention": "30d"},
		"searchable_attributes": []string{"email"},
		"acr":                   []object{{"value": "urn:example:one", "when": "size(amr) > 0"}}}
	a := ok(201, "PUT", "/tenants/made", every, header("If-None-Match", "*"))
	ok(200, "PUT", "/tenants/made", with(every, object{"id": "made", "status": a.JSON["status"]}), header("If-Match", a.Header.Get("ETag")))
	ok(200, "PATCH", "/tenants/made", with(every, object{"id": "made", "status": nil, "user_retention": nil}))
	ok(200, "GET", "/tenants/made/users?attribute=email:ada%40example.com", nil)
	ok(200, "PATCH", "/tenants/made", object{"searchable_attributes": []string{"email", "plan"}})
	ok(409, "GET", "/tenants/made/users?attribute=plan:pro", nil) // until it is indexed
	ok(200, "GET", "/tenants/made", nil)
	ok(200, "GET", "/tenants?q=ma&limit=1", nil)
	ok(200, "GET", "/tenants?limit=1", nil)
	ok(200, "POST", "/tenants/made/suspend", object{"reason": "an exercise"})
	ok(200, "POST", "/tenants/made/suspend", nil)
	ok(200, "GET", "/tenants/made", nil)
	ok(200, "POST", "/tenants/made/resume", object{"reason": "an exercise"})
	ok(204, "DELETE", "/tenants/made?confirm=made", nil)

	// Clients
	ok(201, "PUT", tenant+"/clients/made", everyClientSetting())
	a = ok(200, "GET", tenant+"/clients/made", nil)
	ok(200, "PUT", tenant+"/clients/made", with(a.JSON, object{"late_retry": "once"}))
	ok(200, "PATCH", tenant+"/clients/made", with(everyClientSetting(), object{"id": "made", "status": nil, "name": nil, "claims": object{"plan": nil, "level": "1"}}))
	ok(200, "GET", tenant+"/clients?q=made&limit=1", nil)
	ok(200, "GET", tenant+"/clients?limit=1", nil)
	ok(200, "GET", tenant+"/clients?state=enabled&limit=1", nil)
	ok(200, "POST", tenant+"/clients/made/secret", object{"previous_until": "2d"})
	ok(200, "POST", tenant+"/clients/made/secret", nil)
	ok(200, "POST", tenant+"/clients/made/preview", object{"sub": "alice", "amr": []string{"pwd"}, "allow": "tokn.sub != ''", "claims": object{"big": "'x'", "list": "[1, 2].map(x, 1 / 0)"}})
	ok(200, "POST", tenant+"/clients/made/suspend", nil)
	ok(200, "GET", tenant+"/clients/made", nil)
	ok(200, "POST", tenant+"/clients/made/resume", nil)

	ok(201, "PUT", tenant+"/clients/secretive", object{"auth": "secret", "grants": []string{"token-exchange"}}) // gets a secret

	// Trusted issuers
	keys := object{"jwks": json.RawMessage(d.Issuer.JWKS())}
	ok(200, "PATCH", tenant, object{"searchable_attributes": []string{"email"}})
	a = ok(201, "PUT", tenant+"/trusted-issuers/made", with(everyIssuerSetting(), object{"keys": keys}))
	ok(200, "PUT", tenant+"/trusted-issuers/made", with(a.JSON, object{"keys": object{"jwks_uri": "https://every.example.com/jwks"}}))
	ok(200, "PATCH", tenant+"/trusted-issuers/made", with(everyIssuerSetting(), object{"id": "made", "status": nil, "keys": object{"jwks_uri": nil, "discovery": true}}))
	ok(200, "PATCH", tenant+"/trusted-issuers/made", object{"keys": object{"discovery": nil, "pem": testserver.PEM(t, d.Issuer.Key.Public())}})
	ok(200, "PUT", tenant+"/trusted-issuers/made", object{"issuer": "https://every.example.com", "token_type": "jwt", "subject_prefix": "every:", "keys": object{"shared_secret": strings.Repeat("k", 40)}})
	ok(200, "GET", tenant+"/trusted-issuers/made", nil)
	ok(200, "GET", tenant+"/trusted-issuers?limit=1", nil)
	ok(200, "POST", tenant+"/trusted-issuers/made/suspend", nil)
	ok(200, "GET", tenant+"/trusted-issuers/made", nil)
	ok(200, "POST", tenant+"/trusted-issuers/made/resume", nil)
	byURL := tenant + "/trusted-issuers/" + url.PathEscape("https://every.example.com")
	ok(200, "POST", tenant+"/trusted-issuers/made/suspend", nil)
	ok(200, "POST", byURL+"/suspend", nil)
	ok(200, "POST", tenant+"/trusted-issuers/made/resume", nil) // stays suspended by its URL
	ok(200, "PATCH", tenant+"/trusted-issuers/made", object{"issuer": "https://moved.example.com", "keys": object{"discovery": true}})
	ok(200, "POST", tenant+"/trusted-issuers/"+url.PathEscape("https://moved.example.com")+"/resume", nil)
	ok(204, "DELETE", tenant+"/trusted-issuers/made", nil)

	// Users
	d.makeDestination(t) // so that the deletion of a user names a receiver
	ok(201, "PUT", tenant+"/users/carol", object{"sub": "carol", "attributes": object{"plan": "pro"}, "disabled": false})
	a = ok(200, "GET", tenant+"/users/carol", nil)
	ok(200, "PUT", tenant+"/users/carol", a.JSON)
	ok(200, "PATCH", tenant+"/users/carol", object{"attributes": object{"plan": nil}})
	ok(200, "GET", tenant+"/users?q=ca&limit=1", nil)
	ok(200, "POST", tenant+"/users/carol/suspend", object{"reason": "an exercise"})
	ok(200, "POST", tenant+"/users/carol/resume", nil)
	ok(200, "POST", tenant+"/users/carol/suspend", object{"dry_run": true})
	ok(201, "PUT", tenant+"/users/disabled", object{"disabled": true})
	ok(200, "DELETE", tenant+"/users/disabled", nil)
	d.Clock.Advance(time.Second) // a client token of the second in which she was suspended is refused
	d.SignIn("carol")
	d.SignIn("dave")
	ok(200, "GET", tenant+"/users/carol", nil)
	for range 21 { // more than a list of users counts
		d.SignIn("many")
	}
	ok(200, "GET", tenant+"/users?q=many", nil)
	ok(200, "GET", tenant+"/users?limit=1", nil)
	ok(200, "DELETE", tenant+"/users/carol/sessions", nil)
	ok(200, "DELETE", tenant+"/users/dave", nil)

	// Sessions
	entry := d.entryID("default")
	d.call(t, d.owner, "PATCH", tenant+"/clients/web", object{"max_lifetime": "300d", "claims": object{"org": "session.?org.orValue('none')"}})
	d.reload(t)
	claims := d.Issuer.Claims(d.URL, "erin")
	claims["amr"], claims["auth_time"] = []string{"pwd", "otp"}, d.Clock.Now().Unix()
	signedIn := d.Want(200, "", d.Exchange("", "web", d.Issuer.Sign(claims), "latchkey_device_name", "a phone"))
	sid := signedIn.Text("session_id")
	d.SignIn("erin")
	now := url.QueryEscape(d.Clock.Now().Add(-time.Hour).Format(time.RFC3339))
	later := url.QueryEscape(d.Clock.Now().Add(time.Hour).Format(time.RFC3339))
	search := "user=erin&client=web&state=active&ip=127.0.0.1&created_after=" + now + "&created_before=" + later + "&active_after=" + now + "&active_before=" + later + "&issuer=" + url.QueryEscape(entry)
	a = ok(200, "GET", tenant+"/sessions?limit=1&"+search, nil)
	ok(200, "GET", tenant+"/sessions?limit=1&cursor="+a.Text("next_cursor"), nil)
	ok(200, "GET", tenant+"/sessions/export?"+search, nil)
	ok(200, "PATCH", tenant+"/sessions/"+sid, object{"attributes": object{"org": "acme"}})
	ok(200, "GET", tenant+"/sessions/"+sid, nil)
	ok(200, "POST", tenant+"/sessions/"+sid+"/extend", object{"expires_in": "200d"})
	ok(204, "DELETE", tenant+"/sessions/"+sid, nil)
	ok(200, "GET", tenant+"/sessions/"+sid, nil)
	ok(200, "DELETE", tenant+"/sessions?user=erin&client=web&confirm=10", nil)

	// Explain
	claims = d.Issuer.Claims(d.URL, "erin")
	claims["email"], claims["org"] = "erin@example.com", "acme"
	ok(200, "PATCH", tenant+"/trusted-issuers/"+entry, object{"user_attributes": object{"email": "token.email"}, "session_attributes": object{"org": "token.org", "long": "token.?long.orValue('')"}})
	d.reload(t)
	ok(200, "POST", tenant+"/explain", object{"client_id": "web", "subject_token": d.Issuer.Sign(claims), "subject_token_type": "jwt"})
	claims["long"], claims["jti"] = strings.Repeat("x", 5000), "another"
	ok(200, "POST", tenant+"/explain", object{"client_id": "web", "subject_token": d.Issuer.Sign(claims)})
	ok(200, "POST", tenant+"/explain", object{"client_id": "web", "subject_token": "no token"})
	claims["aud"] = "https://elsewhere.example.com"
	want(t, 200, d.call(t, d.support, "POST", tenant+"/explain", object{"client_id": "web", "subject_token": d.Issuer.Sign(claims)}))

	// Signing keys
	ok(200, "GET", tenant+"/keys", nil)
	kid := ok(200, "POST", tenant+"/keys/rotate", nil).Text("kid")
	ok(200, "POST", tenant+"/keys/"+kid+"/retire", nil)
	ok(200, "GET", tenant+"/keys", nil)

	// Events
	ok(200, "GET", tenant+"/events?limit=2&type=session.created,config.changed&user=erin&client=web&after="+now+"&before="+later, nil)
	ok(200, "GET", tenant+"/events?limit=5&session="+sid, nil)
	ok(200, "GET", tenant+"/events?limit=500", nil)
	ok(200, "GET", "/events?limit=1", nil)
	follow(t, d, d.owner, tenant+"/events/stream", func(*stream) {})

	// Admin keys
	a = ok(201, "POST", "/admin-keys", object{"name": "made", "role": "admin", "tenants": []string{"default"}, "expires_at": "30d"})
	want(t, 200, d.call(t, a.Text("key"), "GET", "/self", nil))
	ok(200, "GET", "/admin-keys?limit=2", nil)
	ok(200, "DELETE", "/admin-keys/"+a.Text("id")+"?descendants=true", nil)
	a = ok(201, "POST", "/admin-keys", object{"name": "another", "role": "owner"})
	want(t, 201, d.call(t, a.Text("key"), "POST", "/admin-keys", object{"name": "its child", "role": "viewer"}))
	ok(200, "GET", "/admin-keys?limit=500", nil)

	// Configuration
	for _, kind := range []string{"application/json", "application/yaml"} {
		a := d.call(t, d.owner, "GET", "/export?users=true&tenant=default", nil, header("Accept", kind))
		want(t, 200, a)
		ok(200, "POST", "/apply?dry_run=true", string(a.Body), contentType(kind))
	}
	ok(200, "GET", "/export?for_new_database=true", nil)
	ok(200, "POST", tenant+"/users/nobody/suspend", object{"reason": "an exercise"})
	ok(200, "POST", tenant+"/trusted-issuers/"+entry+"/suspend", nil)
	ok(200, "POST", tenant+"/trusted-issuers/"+url.PathEscape(d.Issuer.URL)+"/suspend", nil)
	ok(200, "POST", tenant+"/trusted-issuers/"+entry+"/resume", nil)
	ok(200, "PATCH", tenant+"/trusted-issuers/"+entry, object{"issuer": "https://moved.example.com"})
	a = ok(200, "GET", "/suspensions?limit=1&tenant=default", nil)
	ok(200, "GET", "/suspensions?limit=1&tenant=default&cursor="+a.Text("next_cursor"), nil)
	ok(200, "GET", "/suspensions", nil)
	ok(200, "PATCH", tenant+"/trusted-issuers/"+entry, object{"issuer": d.Issuer.URL})
	ok(200, "POST", tenant+"/trusted-issuers/"+url.PathEscape(d.Issuer.URL)+"/resume", nil)
	ok(200, "POST", "/apply?replace=true", object{"revision": 1, "tenants": []object{{"id": "acme", "clients": []object{
		{"id": "web", "auth": "none", "grants": []string{"token-exchange"}, "name": "Applied"},
		{"id": "loose", "auth": "none", "grants": []string{"token-exchange", "refresh"}, "access_token_ttl": "1h"},
	}}}})
	if err := d.Store.SyncSessionCounts(t.Context(), "a node"); err != nil {
		t.Error(err)
	}
	ok(200, "GET", "/stats?tenant=default,acme", nil)
	if err := d.Store.ReportNode(t.Context(), models.Node{ID: "x", Name: "host", Version: "v1", StartedAt: models.At(d.Store.Now()), LogReadAt: models.At(d.Store.Now()), Reason: "starting"}); err != nil {
		t.Error(err)
	}
	ok(200, "GET", "/nodes", nil)

	// Client tokens
	internal := object{"issuer": d.URL + "/client-tokens", "token_type": "jwt", "subject_prefix": "own:", "keys": object{"internal": true}}
	ok(201, "PUT", tenant+"/trusted-issuers/own", internal)
	d.reload(t)
	ok(200, "POST", tenant+"/client-tokens", object{"sub": "frank", "amr": []string{"pwd"}, "auth_time": d.Clock.Now().Unix(), "acr": "urn:example:one", "client_id": "web", "claims": object{"email": "f@example.com"}})
	ok(200, "POST", tenant+"/trusted-issuers/own/check", nil)

	ok(204, "DELETE", tenant+"/clients/made", nil)
	callEveryDestinationOperation(t, d, ok)
}

// pathValues returns a value for each path parameter, of an object that exists.
func pathValues(t *testing.T, d *deployment) map[string]string {
	t.Helper()
	return map[string]string{
		"tenant": "default", "client": "web", "issuer": d.entryID("default"), "sub": "alice", "sid": d.SignIn("alice").Text("session_id"),
		"kid": "no-key", "id": "no-key", "destination": d.makeDestination(t),
	}
}

// fillPath replaces the parameters of a path by values.
func fillPath(path string, values map[string]string) string {
	for name, value := range values {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value))
	}
	return path
}

// requiredInput returns the smallest valid query and body of an operation.
func requiredInput(id string) (query string, body any) {
	switch id {
	case "put-tenant", "patch-tenant", "patch-client", "patch-trusted-issuer":
		return "", object{}
	case "put-client":
		return "", object{"auth": "none", "grants": []string{"token-exchange"}}
	case "put-trusted-issuer":
		return "", object{"issuer": "https://new.example.com", "token_type": "jwt", "keys": object{"discovery": true}}
	case "put-event-destination":
		return "", object{"type": "webhook", "url": "https://new.example.com"}
	case "patch-event-destination":
		return "", object{}
	case "put-user", "patch-user", "patch-session":
		return "", object{"attributes": object{}}
	case "extend-session":
		return "", object{"expires_in": "1h"}
	case "mint-client-token":
		return "", object{"sub": "alice"}
	case "apply":
		return "", object{}
	case "explain":
		return "", object{"client_id": "web", "subject_token": "x"}
	case "preview-client":
		return "", object{"sub": "alice"}
	case "create-admin-key":
		return "", object{"name": "x", "role": "viewer"}
	case "delete-tenant":
		return "?confirm=default", nil
	case "end-sessions":
		return "?user=alice&confirm=1", nil
	}
	return "", nil
}

// provokeCommonErrors makes every operation return each error that follows from its path
// and its body.
func provokeCommonErrors(t *testing.T, d *deployment) {
	v := pathValues(t, d)
	throttled := fromNewIP()
	for range 100 {
		if d.call(t, "wrong", "GET", "/self", nil, throttled).Status == 429 {
			break
		}
	}
	for _, op := range theDocument().operations {
		query, body := requiredInput(op.id)
		path := strings.TrimPrefix(fillPath(op.path, v), "/admin/v1") + query
		refused := func(status int, code string, key, path string, body any, options ...option) {
			t.Helper()
			wantProblem(t, op.id, status, code, d.call(t, key, op.method, path, body, options...))
		}
		refused(401, "unauthorized", "wrong", path, body, fromNewIP())
		refused(429, "too_many_failures", "wrong", path, body, throttled)
		refused(403, "foreign_host", d.owner, path, body, toHost("evil.example"))
		and := "?"
		if query != "" {
			and = "&"
		}
		refused(400, "invalid_request", d.owner, path+and+"no_such_parameter=1", body, malformed)
		switch {
		case strings.Contains(op.path, "{tenant}"):
			elsewhere := maps.Clone(v)
			elsewhere["tenant"] = "nowhere"
			if op.id == "put-tenant" || op.id == "suspend-tenant" || op.id == "resume-tenant" { // for which it need not exist
				refused(404, "not_found", d.onlyAcme, path, body)
				break
			}
			refused(404, "not_found", d.owner, strings.TrimPrefix(fillPath(op.path, elsewhere), "/admin/v1")+query, body)
		case op.id == "apply":
			refused(404, "not_found", d.onlyAcme, path, object{"tenants": []object{{"id": "default"}}})
		case op.id == "export", op.id == "get-stats":
			refused(404, "not_found", d.owner, path+"?tenant=nowhere", nil)
		case op.id == "list-suspensions":
			refused(404, "not_found", d.onlyAcme, path+"?tenant=default", nil)
		case strings.Contains(op.path, "{"):
			refused(404, "not_found", d.owner, path, body)
		}
		if op.body != nil {
			refused(400, "invalid_request", d.owner, path, `{"no_such_key":1}`, malformed)
			refused(413, "too_large", d.owner, path, `{"a":"`+strings.Repeat("x", 1<<20)+`"}`, contentType(op.kinds[0]), malformed)
			refused(415, "unsupported_media_type", d.owner, path, `{}`, contentType("text/plain"), malformed)
			d.callSlowly(t, &op, path)
		}
	}
}

// callSlowly sends a request whose body never arrives.
func (d *deployment) callSlowly(t *testing.T, op *operation, path string) {
	t.Helper()
	r := httptest.NewRequest(op.method, d.AdminURL+"/admin/v1"+path, slowBody{})
	r.Header.Set("Authorization", "Bearer "+d.owner)
	w := httptest.NewRecorder()
	d.AdminHandler.ServeHTTP(w, r)
	a := &testserver.Answer{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()}
	if err := json.Unmarshal(a.Body, &a.JSON); err != nil {
		t.Error(err)
	}
	wantProblem(t, op.id, 408, "timeout", a)
	if err := theDocument().checkResponse(r, a.Status, a.Header, a.Body); err != nil {
		t.Error(err)
	}
	d.seen.add(op, nil, a)
}

// slowBody is a body that does not arrive before the deadline.
type slowBody struct{}

func (slowBody) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// provokeConflicts makes each operation return the errors that depend on the stored
// state.
func provokeConflicts(t *testing.T, d *deployment) {
	v := pathValues(t, d)
	refused := func(status int, code, method, path string, body any, options ...option) {
		t.Helper()
		wantProblem(t, method+" "+path, status, code, d.call(t, d.owner, method, fillPath(path, v), body, options...))
	}
	stale := header("If-Match", `"stale"`)
	client, issuer := object{"auth": "none", "grants": []string{"token-exchange"}}, object{"issuer": d.Issuer.URL, "token_type": "jwt", "keys": object{"discovery": true}}
	for path, body := range map[string]object{"/tenants/{tenant}": {}, "/tenants/{tenant}/clients/{client}": client, "/tenants/{tenant}/trusted-issuers/{issuer}": issuer, "/tenants/{tenant}/users/{sub}": {"attributes": object{}}} {
		refused(412, "precondition_failed", "PUT", path, body, stale)
		refused(412, "precondition_failed", "PUT", path, body, header("If-None-Match", "*"))
		refused(412, "precondition_failed", "PATCH", path, object{}, stale)
		refused(409, "not_suspended", "POST", path+"/resume", nil)
	}
	refused(412, "precondition_failed", "DELETE", "/tenants/{tenant}/clients/{client}", nil, stale)
	refused(412, "precondition_failed", "DELETE", "/tenants/{tenant}/trusted-issuers/{issuer}", nil, stale)
	refused(412, "precondition_failed", "DELETE", "/tenants/acme?confirm=acme", nil, stale)
	webhook, destination := object{"type": "webhook", "url": "https://hooks.example.com"}, "/tenants/{tenant}/event-destinations/{destination}"
	refused(412, "precondition_failed", "PUT", destination, webhook, stale)
	refused(412, "precondition_failed", "PATCH", destination, object{}, stale)
	refused(412, "precondition_failed", "DELETE", destination, nil, stale)
	d.call(t, d.owner, "PUT", "/tenants/default/clients/poller", object{"auth": "secret", "grants": []string{"client-credentials"}, "scopes": []string{"ssf.read"}})
	want(t, 201, d.call(t, d.owner, "PUT", "/tenants/default/event-destinations/polled", object{"type": "set_poll", "client": "poller"}))
	refused(409, "polled", "POST", "/tenants/default/event-destinations/polled/test", nil)
	refused(409, "not_a_webhook", "POST", "/tenants/default/event-destinations/polled/secret", nil)
	refused(409, "default_tenant", "DELETE", "/tenants/{tenant}?confirm=default", nil)
	refused(409, "confirm", "DELETE", "/tenants/{tenant}/sessions?user=alice&confirm=0", nil)
	want(t, 200, d.call(t, d.owner, "POST", "/tenants/acme/keys/rotate", nil))
	refused(409, "key_announced", "POST", "/tenants/acme/keys/rotate", nil)
	want(t, 204, d.call(t, d.owner, "DELETE", fillPath("/tenants/{tenant}/sessions/{sid}", v), nil))
	refused(409, "session_ended", "PATCH", "/tenants/{tenant}/sessions/{sid}", object{"attributes": object{}})
	refused(409, "session_ended", "POST", "/tenants/{tenant}/sessions/{sid}/extend", object{"expires_in": "1h"})
	refused(409, "client_tokens_disabled", "POST", "/tenants/acme/client-tokens", object{"sub": "alice"})
	refused(409, "default_tenant", "POST", "/apply?prune=true", object{"tenants": []object{{"id": "acme"}}})
	refused(409, "public_client", "POST", "/tenants/{tenant}/clients/{client}/secret", nil)

	d.applyFile(t)
	refused(409, "managed_by_file", "PUT", "/tenants/owned", object{"store_device": false})
	refused(409, "managed_by_file", "PATCH", "/tenants/owned", object{"store_device": false})
	refused(409, "managed_by_file", "DELETE", "/tenants/owned?confirm=owned", nil)
	refused(409, "managed_by_file", "PUT", "/tenants/owned/clients/web", client)
	refused(409, "managed_by_file", "PATCH", "/tenants/owned/clients/web", object{"name": "x"})
	refused(409, "managed_by_file", "DELETE", "/tenants/owned/clients/web", nil)
	refused(409, "managed_by_file", "PUT", "/tenants/owned/trusted-issuers/owned", issuer)
	refused(409, "managed_by_file", "PATCH", "/tenants/owned/trusted-issuers/owned", object{"leeway": "3s"})
	refused(409, "managed_by_file", "DELETE", "/tenants/owned/trusted-issuers/owned", nil)
	refused(409, "managed_by_file", "PUT", "/tenants/owned/users/zoe", object{"attributes": object{"plan": "free"}})
	refused(409, "managed_by_file", "PATCH", "/tenants/owned/users/zoe", object{"attributes": object{"plan": "free"}})
	refused(409, "managed_by_file", "DELETE", "/tenants/owned/users/zoe", nil)
	refused(409, "managed_by_file", "POST", "/tenants/owned/clients/backend/secret", nil)
	refused(409, "managed_by_file", "PUT", "/tenants/owned/event-destinations/siem", webhook)
	refused(409, "managed_by_file", "PATCH", "/tenants/owned/event-destinations/siem", object{"paused": true})
	refused(409, "managed_by_file", "DELETE", "/tenants/owned/event-destinations/siem", nil)
	refused(409, "managed_by_file", "POST", "/tenants/owned/event-destinations/siem/secret", nil)
	for _, path := range []string{"/tenants/owned", "/tenants/owned/clients/web", "/tenants/owned/trusted-issuers/owned", "/tenants/owned/users/zoe", "/tenants/owned/event-destinations/siem"} {
		want(t, 200, d.call(t, d.owner, "GET", path, nil))
	}

	keys := want(t, 200, d.call(t, d.owner, "GET", "/admin-keys?limit=500", nil)).JSON["items"].([]any)
	self := want(t, 200, d.call(t, d.owner, "GET", "/self", nil)).Text("id")
	for _, k := range keys {
		if k := k.(object); k["role"] == "owner" && k["id"] != self {
			want(t, 200, d.call(t, d.owner, "DELETE", "/admin-keys/"+k["id"].(string), nil))
		}
	}
	refused(409, "last_owner", "DELETE", "/admin-keys/"+self, nil)
}

// applyFile applies a file of serve with the tenant owned.
func (d *deployment) applyFile(t *testing.T) {
	t.Helper()
	tenant := testserver.Tenant("owned", testserver.NewIssuer(t, d.Clock), testserver.Web(), testserver.Backend())
	tenant.SigningAlgorithm, tenant.TrustedIssuers[0].ID = "ES256", "owned"
	tenant.EventDestinations = []settings.DestinationSpec{{ID: "siem", Secret: webhookSecret, DestinationSettings: settings.DestinationSettings{
		Type: settings.DestinationWebhook, URL: "https://siem.example.com/hooks",
	}}}
	tenant.Users = []settings.UserSpec{{Sub: "zoe", Attributes: object{"plan": "pro"}}}
	d.serveFile(t, tenant)
	if err := d.OAuth.EnsureSigningKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// serveFile applies tenants as the file of serve.
func (d *deployment) serveFile(t *testing.T, tenants ...settings.TenantSpec) {
	t.Helper()
	validate := func(all []settings.TenantSpec) settings.Faults {
		return append(settings.ValidateTenants(all, d.URL), oauth.CheckTenants(all)...)
	}
	if _, err := d.Store.Start(t.Context(), tenants, settings.StartApply, models.File{Revision: 10, Digest: "of a file"}, d.Keys, validate); err != nil {
		t.Fatal(err)
	}
}

// untestedStatuses lists statuses that this package does not provoke for every operation.
var untestedStatuses = []string{"500", "503"}

// untestedMembers lists members that no request and no response of this test contains.
var untestedMembers = []string{"Stat.tenant", "Stat.name", "Stat.at", "Stat.n"} // nodes write them every 10 seconds

func TestEveryOperationMatchesTheDocument(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		d.seen = newCoverage()
		callEveryOperation(t, d)
		provokeCommonErrors(t, d)
		provokeConflicts(t, d)
		for _, op := range theDocument().operations {
			for _, status := range op.statuses {
				if !d.seen.statuses[op.id+" "+status] && !slices.Contains(untestedStatuses, status) {
					t.Errorf("%s was never answered with %s", op.id, status)
				}
			}
		}
		for name, schema := range theDocument().schemas {
			members, _ := schema.(object)["properties"].(object)
			for member := range members {
				if path := name + "." + member; !d.seen.members[path] && !slices.Contains(untestedMembers, path) {
					t.Errorf("no response and no accepted request had %s", path)
				}
			}
		}
	})
}

func TestADatabaseOutageMatchesTheDocument(t *testing.T) {
	t.Parallel()
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	d := newDeployment(t, proxy.URL())
	v := pathValues(t, d)
	proxy.Cut()
	for _, op := range theDocument().operations {
		query, body := requiredInput(op.id)
		a := d.call(t, d.owner, op.method, strings.TrimPrefix(fillPath(op.path, v), "/admin/v1")+query, body)
		wantProblem(t, op.id, 503, "temporarily_unavailable", a)
		if a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", op.id)
		}
	}
}

// readNothingElse lists the operations that read only the admin key.
var readNothingElse = []string{"get-self", "list-admin-keys", "create-admin-key", "revoke-admin-key"}

func TestAnUnexpectedErrorIsAProblemWithoutItsCause(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		v := pathValues(t, d)
		d.Clock.Advance(time.Minute) // the deployment reads its configuration again
		hide := func(keep string) {
			db := testserver.OpenDatabase(t, d.DatabaseURL)
			defer db.Close()
			for _, table := range d.Tables() {
				if table == keep || strings.HasPrefix(table, "hidden_") {
					continue
				}
				if _, err := db.ExecContext(t.Context(), "ALTER TABLE "+table+" RENAME TO hidden_"+table); err != nil {
					t.Fatal(err)
				}
			}
		}
		call := func(op operation) *testserver.Answer {
			query, body := requiredInput(op.id)
			if op.id == "apply" { // an empty document reads nothing
				body = object{"tenants": []object{{"id": "acme"}}}
			}
			return d.call(t, d.owner, op.method, strings.TrimPrefix(fillPath(op.path, v), "/admin/v1")+query, body)
		}
		isServerError := func(op operation, a *testserver.Answer) {
			t.Helper()
			wantProblem(t, op.id, 500, "server_error", a)
			const text = `{"title":"Internal Server Error","status":500,"code":"server_error","detail":"The server encountered an unexpected condition"}`
			if strings.TrimSpace(string(a.Body)) != text {
				t.Errorf("%s shows %s", op.id, a.Body)
			}
			if log := d.Log.Take(); !strings.Contains(log, "no such table") && !strings.Contains(log, "does not exist") {
				t.Errorf("%s: the cause is not in the log: %s", op.id, log)
			}
		}
		hide("admin_keys") // so that the key is accepted, and the operation itself fails
		for _, op := range theDocument().operations {
			if !slices.Contains(readNothingElse, op.id) {
				d.Log.Take()
				isServerError(op, call(op))
			}
		}
		hide("")
		for _, op := range theDocument().operations {
			d.Log.Take()
			isServerError(op, call(op))
		}
	})
}

func TestPathsOutsideTheDocumentAreProblems(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, sqlite(t))
	for path, status := range map[string]int{"/nowhere": 404, "": 404, "/": 404, "/tenants/": 404, "/tenants/default/clients/web/": 404, "/TENANTS": 404} {
		a := d.call(t, d.owner, "GET", path, nil, undocumented)
		wantProblem(t, path, status, "not_found", a)
	}
	for _, path := range []string{"/self", "/tenants", "/tenants/default", "/tenants/default/explain", "/events"} {
		wantProblem(t, path, 405, "method_not_allowed", d.call(t, d.owner, "OPTIONS", path, nil, undocumented, header("Origin", "https://evil.example")))
		a := d.call(t, d.owner, "GET", path, nil, undocumented, header("Origin", "https://evil.example"))
		for name := range a.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s: %s", path, name, a.Header.Get(name))
			}
		}
	}
	if a := d.call(t, d.owner, "GET", "/tenants/default/clients/..%2f..%2f..%2fadmin-keys", nil, undocumented); a.Status != http.StatusNotFound {
		t.Errorf("status %d %s", a.Status, a.Body)
	}
}
