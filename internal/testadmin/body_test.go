package testadmin

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
)

// marker is part of every value in a bad request. No problem may contain it.
const marker = "MARKER7f3a"

// wantFault requires a problem that has a fault with the pointer and contains no value of
// the request.
func wantFault(t *testing.T, what string, a *testserver.Answer, pointer string) {
	t.Helper()
	wantProblem(t, what, 400, "invalid_request", a)
	if strings.Contains(string(a.Body), marker) {
		t.Errorf("%s: the problem has a value of the request: %s", what, a.Body)
	}
	for _, fault := range list(a.JSON["errors"]) {
		if fault.(object)["pointer"] == pointer || pointer == "" && fault.(object)["pointer"] == nil {
			return
		}
	}
	t.Errorf("%s: no fault at %q: %s", what, pointer, a.Body)
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// firstMember returns a member of an operation's body, with a value.
func firstMember(id string) (name, value string) {
	switch {
	case strings.HasPrefix(id, "suspend"), strings.HasPrefix(id, "resume"):
		return "reason", `"x"`
	case id == "create-admin-key", strings.HasSuffix(id, "client"):
		return "name", `"x"`
	case strings.HasSuffix(id, "tenant"):
		return "store_device", "true"
	case strings.HasSuffix(id, "trusted-issuer"):
		return "typ", `"x"`
	case strings.HasSuffix(id, "user"), id == "patch-session":
		return "attributes", "{}"
	case strings.HasSuffix(id, "-event-destination"):
		return "description", `"x"`
	case id == "new-client-secret", id == "new-event-destination-secret":
		return "previous_until", `"1d"`
	case id == "extend-session":
		return "expires_in", `"1h"`
	case id == "explain":
		return "client_id", `"x"`
	case id == "apply":
		return "tenants", "[]"
	case id == "mint-client-token":
		return "sub", `"x"`
	}
	return "", ""
}

func TestEveryBodyIsReadStrictly(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		v := pathValues(t, d)
		before := d.Stored(configured...)
		for _, op := range theDocument().operations {
			if op.body == nil {
				continue
			}
			path := strings.TrimPrefix(fillPath(op.path, v), "/admin/v1")
			name, value := firstMember(op.id)
			if name == "" {
				t.Errorf("%s has a body; add one of its members to firstMember", op.id)
				continue
			}
			send := func(body string, options ...option) *testserver.Answer {
				t.Helper()
				return d.call(t, d.owner, op.method, path, body, append(options, malformed)...)
			}
			for what, c := range map[string]struct{ body, pointer string }{
				"not JSON":                 {marker, ""},
				"YAML":                     {"name: " + marker, ""},
				"cut off":                  {`{"` + name + `":"` + marker, ""},
				"a list":                   {`["` + marker + `"]`, ""},
				"a text":                   {`"` + marker + `"`, ""},
				"null":                     {`null`, ""},
				"two objects":              {`{} {"` + name + `":"` + marker + `"}`, ""},
				"a comment":                {`{} // ` + marker, ""},
				"an unknown key":           {`{"no_such_key":"` + marker + `"}`, "/no_such_key"},
				"a key in another case":    {`{"` + strings.ToUpper(name) + `":"` + marker + `"}`, "/" + strings.ToUpper(name)},
				"a key twice":              {`{"` + name + `":` + value + `,"` + name + `":` + value + `}`, "/" + name},
				"another type":             {`{"` + name + `":[{"x":"` + marker + `"}]}`, "/" + name},
				"YAML's merge key":         {`{"<<":{"x":"` + marker + `"}}`, "/<<"},
				"too deep":                 {`{"` + name + `":` + strings.Repeat(`{"a":`, 150) + `"` + marker + `"` + strings.Repeat("}", 150) + `}`, ""},
				"lists that are too deep":  {`{"` + name + `":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, ""},
				"text that is not UTF-8":   {`{"` + name + `":"` + marker + "\xff\xfe" + `"}`, ""},
				"a surrogate without pair": {`{"` + name + `":"` + marker + `\ud800"}`, ""},
				"a byte order mark":        {"\ufeff{}", ""},
			} {
				if what == "another type" && name == "tenants" {
					c.pointer = "/tenants/0/x"
				}
				a := send(c.body)
				if c.pointer == "" {
					wantProblem(t, op.id+" with "+what, 400, "invalid_request", a)
					if strings.Contains(string(a.Body), marker) {
						t.Errorf("%s with %s: the problem has a value of the request: %s", op.id, what, a.Body)
					}
					continue
				}
				wantFault(t, op.id+" with "+what, a, c.pointer)
			}
			if requiresBody(op.id) {
				wantProblem(t, op.id+" without a body", 400, "invalid_request", send(""))
			}
			for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json-patch+json", "nonsense", "application/xml"} {
				wantProblem(t, op.id+" as "+kind, 415, "unsupported_media_type", send(`{"`+name+`":`+value+`}`, contentType(kind)))
			}
		}
		if after := d.Stored(configured...); after != before {
			t.Errorf("stored:\n%s\nbefore:\n%s", after, before)
		}
		if log := d.Log.String(); strings.Contains(log, marker) {
			t.Error("the log has a value of a refused request")
		}
	})
}

// requiresBody reports whether an operation requires a body.
func requiresBody(id string) bool {
	return !strings.HasSuffix(id, "-secret") && !strings.HasPrefix(id, "suspend-") && !strings.HasPrefix(id, "resume-")
}

func TestFaultsPointAtTheirMember(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		entry := url.PathEscape(d.entryID("default"))
		const client, tenant, user, apply = "/tenants/default/clients/new", "/tenants/new", "/tenants/default/users/alice", "/apply"
		issuer := "/tenants/default/trusted-issuers/" + entry
		valid := func(more string) string { return `{"auth":"none","grants":["token-exchange"],` + more + `}` }
		nul := `"` + marker + `\u0000"`
		before := d.Stored(configured...)
		for what, c := range map[string]struct{ method, path, body, pointer string }{
			"a CEL fault in a claim":               {"PUT", client, valid(`"claims":{"plan":"user.` + marker + ` +"}`), "/claims/plan"},
			"a claim with a slash and a tilde":     {"PUT", client, valid(`"claims":{"a/b~c":"user.` + marker + ` +"}`), "/claims/a~1b~0c"},
			"a claim with dots":                    {"PUT", client, valid(`"claims":{"https://x.example/a.b":"1 +"}`), "/claims/https:~1~1x.example~1a.b"},
			"a CEL fault in allow":                 {"PUT", client, valid(`"allow":"` + marker + ` +"`), "/allow"},
			"an allow that is not a boolean":       {"PUT", client, valid(`"allow":"'` + marker + `'"`), "/allow"},
			"an unknown function":                  {"PUT", client, valid(`"allow":"no_such()"`), "/allow"},
			"a CEL fault in a patch":               {"PATCH", "/tenants/default/clients/web", `{"claims":{"plan":"` + marker + `("}}`, "/claims/plan"},
			"a CEL fault of a mapping":             {"PATCH", issuer, `{"user_attributes":{"email":"token.` + marker + ` +"}}`, "/user_attributes/email"},
			"a CEL fault of the subject":           {"PATCH", issuer, `{"subject":"` + marker + `("}`, "/subject"},
			"a CEL fault of a class":               {"PUT", tenant, `{"acr":[{"value":"urn:a","when":"` + marker + `("}]}`, "/acr/0/when"},
			"a reserved claim":                     {"PUT", client, valid(`"claims":{"sub":"'` + marker + `'"}`), "/claims/sub"},
			"a member of a list":                   {"PUT", client, valid(`"scopes":["ok",{"x":"` + marker + `"}]`), "/scopes/1"},
			"a nested unknown key":                 {"PUT", client, valid(`"max_sessions_per_user":{"limit":1,"no_such":"` + marker + `"}`), "/max_sessions_per_user/no_such"},
			"a nested number":                      {"PUT", client, valid(`"max_sessions_per_user":{"limit":1.5}`), "/max_sessions_per_user/limit"},
			"a short secret":                       {"PUT", client, `{"auth":"secret","grants":["token-exchange"],"secret":"` + marker + `"}`, "/secret"},
			"a file of a secret":                   {"PUT", client, `{"auth":"secret","grants":["token-exchange"],"secret_file":"/etc/` + marker + `"}`, "/secret_file"},
			"a file of a secret in a patch":        {"PATCH", "/tenants/default/clients/backend", `{"secret_file":"/etc/` + marker + `"}`, "/secret_file"},
			"a file of a shared secret":            {"PUT", "/tenants/default/trusted-issuers/new", `{"issuer":"https://x.example","token_type":"jwt","keys":{"shared_secret_file":"/etc/` + marker + `"}}`, "/keys/shared_secret_file"},
			"a file of a shared secret in a patch": {"PATCH", issuer, `{"keys":{"jwks":null,"shared_secret_file":"/etc/` + marker + `"}}`, "/keys/shared_secret_file"},
			"a file of a secret in apply":          {"POST", apply, `{"tenants":[{"id":"acme","clients":[{"id":"x","auth":"secret","grants":["refresh"],"secret_file":"/etc/` + marker + `"}]}]}`, "/tenants/0/clients/0/secret_file"},
			"a file of a shared secret in apply":   {"POST", apply, `{"tenants":[{"id":"acme","trusted_issuers":[{"issuer":"https://x.example","token_type":"jwt","keys":{"shared_secret_file":"/etc/` + marker + `"}}]}]}`, "/tenants/0/trusted_issuers/0/keys/shared_secret_file"},
			"an unknown key in apply":              {"POST", apply, `{"tenants":[{"id":"acme","no_such":"` + marker + `"}]}`, "/tenants/0/no_such"},
			"a section that apply does not accept": {"POST", apply, `{"issuer":"` + marker + `"}`, "/issuer"},
			"an id that is not the path's":         {"PUT", client, valid(`"id":"` + marker + `"`), "/id"},
			"a sub that is not the path's":         {"PUT", user, `{"sub":"` + marker + `"}`, "/sub"},
			"an id of a tenant that is not":        {"PUT", tenant, `{"id":"` + marker + `"}`, "/id"},
			"an id in a patch":                     {"PATCH", "/tenants/default/clients/web", `{"id":"` + marker + `"}`, "/id"},
			"NUL in a name":                        {"PUT", client, valid(`"name":` + nul), "/name"},
			"NUL in an attribute":                  {"PUT", user, `{"attributes":{"plan":` + nul + `}}`, "/attributes/plan"},
			"NUL deep in an attribute":             {"PATCH", user, `{"attributes":{"plan":{"a":[` + nul + `]}}}`, "/attributes/plan/a/0"},
			"NUL in the name of an attribute":      {"PATCH", user, `{"attributes":{"a\u0000":"` + marker + `"}}`, "/attributes/a\x00"},
			"NUL in a reason":                      {"POST", "/tenants/default/users/alice/suspend", `{"reason":` + nul + `}`, "/reason"},
			"a reason of two lines":                {"POST", "/tenants/default/users/alice/suspend", `{"reason":"` + marker + `\nx"}`, "/reason"},
			"NUL in the name of a key":             {"POST", "/admin-keys", `{"role":"viewer","name":` + nul + `}`, "/name"},
			"an unknown role":                      {"POST", "/admin-keys", `{"name":"x","role":"` + marker + `"}`, "/role"},
			"an unknown tenant":                    {"POST", "/admin-keys", `{"name":"x","role":"admin","tenants":["nowhere"]}`, "/tenants/0"},
			"an owner of one tenant":               {"POST", "/admin-keys", `{"name":"x","role":"owner","tenants":["acme"]}`, "/tenants"},
			"no tenants":                           {"POST", "/admin-keys", `{"name":"x","role":"admin","tenants":[]}`, "/tenants"},
			"an attribute that is too long":        {"PUT", user, `{"attributes":{"plan":"` + marker + strings.Repeat("x", 5000) + `"}}`, "/attributes/plan"},
			"a number that is too large for JSON":  {"PUT", user, `{"attributes":{"plan":12345678901234567890123}}`, "/attributes/plan"},
			"a text that is not a duration":        {"PUT", client, valid(`"access_token_ttl":"` + marker + `"`), "/access_token_ttl"},
			"clients in a tenant":                  {"PUT", tenant, `{"clients":[]}`, "/clients"},
			"users in a tenant":                    {"PUT", tenant, `{"users":[{"sub":"` + marker + `"}]}`, "/users"},
			"no client":                            {"POST", "/tenants/default/explain", `{"subject_token":"` + marker + `"}`, "/client_id"},
		} {
			wantFault(t, what, d.call(t, d.owner, c.method, c.path, c.body, malformed), c.pointer)
		}
		if after := d.Stored(configured...); after != before {
			t.Errorf("stored:\n%s\nbefore:\n%s", after, before)
		}
	})
}

func TestParametersAreReadStrictly(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		sessions, events := "/tenants/default/sessions", "/tenants/default/events"
		for _, path := range []string{
			"/tenants?limit=0", "/tenants?limit=501", "/tenants?limit=x" + marker, "/tenants?limit=-1", "/tenants?cursor=" + marker + "!", "/tenants?Limit=1", "/tenants?limit=1&limit=2" + marker,
			sessions + "?state=" + marker, sessions + "?ip=" + marker, sessions + "?created_after=" + marker, sessions + "?cursor=" + marker, sessions + "?issuer=" + marker,
			sessions + "?user=a%00" + marker, sessions + "?user=" + marker + "%ff", sessions + "?client=%00",
			events + "?cursor=" + marker, events + "?session=" + marker, events + "?after=" + marker, events + "?user=%00",
			"/tenants/default/users?q=%00" + marker, "/tenants/default/users?q=%ff" + marker, "/tenants/default/clients?q=%00", "/tenants?q=%00", "/tenants/default/users?issuer=%00",
			"/tenants/default/users?cursor=AA", "/admin-keys?cursor=AA", "/admin-keys?cursor=_w",
			"/export?tenant=" + marker + "%00", "/stats?tenant=%00",
		} {
			a := d.call(t, d.owner, "GET", path, nil, malformed)
			if a.Status != 400 && a.Status != 404 || strings.Contains(string(a.Body), marker) {
				t.Errorf("%s: status %d %s", path, a.Status, a.Body)
			}
		}
		for _, path := range []string{
			"/tenants/DEFAULT", "/tenants/..", "/tenants/%2e%2e", "/tenants/default%00", "/tenants/default%2f..", "/tenants/de%66ault%20", "/tenants/" + strings.Repeat("a", 100),
			"/tenants/default/clients/%00", "/tenants/default/clients/%ff", "/tenants/default/clients/" + strings.Repeat("a", 100), "/tenants/default/trusted-issuers/%00",
			"/tenants/default/users/%00", "/tenants/default/users/%ff", "/tenants/default/users/" + strings.Repeat("a", 2000), "/tenants/default/sessions/%00", "/tenants/default/sessions/" + marker,
		} {
			if a := d.call(t, d.owner, "GET", path, nil, malformed, undocumented); a.Status != 400 && a.Status != 404 {
				t.Errorf("GET %s: status %d %s", path, a.Status, a.Body)
			}
		}
		for _, path := range []string{
			"DELETE " + sessions + "?confirm=1", "DELETE " + sessions + "?user=alice", "DELETE " + sessions + "?user=alice&confirm=-1", "DELETE " + sessions + "?user=alice&confirm=x",
			"DELETE /tenants/acme", "DELETE /tenants/acme?confirm=default", "DELETE /tenants/acme?confirm=",
			"DELETE /tenants/default/users/%00", "POST /tenants/default/users/%00/suspend", "POST /tenants/default/users/%ff/suspend", "DELETE /admin-keys/%00",
			"POST /tenants/default/keys/%00/retire", "DELETE /tenants/default/users/%00/sessions", "POST /tenants/default/trusted-issuers/%00/check",
		} {
			method, path, _ := strings.Cut(path, " ")
			if a := d.call(t, d.owner, method, path, nil, malformed, undocumented); a.Status != 400 && a.Status != 404 {
				t.Errorf("%s %s: status %d %s", method, path, a.Status, a.Body)
			}
		}
		if log := d.Log.String(); strings.Contains(log, `"level":"ERROR"`) {
			t.Errorf("the log has an error: %s", lines(log, `"level":"ERROR"`))
		}
	})
}

func lines(log, part string) (found string) {
	for line := range strings.Lines(log) {
		if strings.Contains(line, part) {
			found += line
		}
	}
	return found
}

func TestYAMLIsAppliedStrictly(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		before := d.Stored(configured...)
		bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
		for c := 'b'; c < 'k'; c++ {
			bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
		}
		for what, text := range map[string]string{
			"aliases that multiply":    bomb,
			"aliases in an attribute":  "tenants: [{id: acme, users: [{sub: x, attributes: {a: &a [1,2,3,4,5,6,7,8,9], b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a], c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b], d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c], e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d], f: [*e,*e,*e,*e,*e,*e,*e,*e,*e]}}]}]",
			"an alias of itself":       "tenants: &t [*t]",
			"an unknown alias":         "tenants: *" + marker,
			"two documents":            "tenants: []\n---\ntenants: []",
			"a list":                   "- " + marker,
			"a tag of another type":    "tenants: !!python/object/apply:os.system ['" + marker + "']",
			"a key twice":              "tenants: []\ntenants: []",
			"a tab":                    "tenants:\n\t- id: " + marker,
			"a binary":                 "tenants: [{id: !!binary " + marker + "}]",
			"too deep":                 "tenants: " + strings.Repeat("[", 500) + strings.Repeat("]", 500),
			"not UTF-8":                "tenants: [{id: \"" + marker + "\xff\"}]",
			"NUL":                      "tenants: [{id: \"" + marker + "\x00\"}]",
			"a number as id":           "tenants: [{id: acme, clients: [{id: 42, auth: none, grants: [refresh], name: [x]}]}]",
			"an attribute of infinity": "tenants: [{id: acme, users: [{sub: x, attributes: {a: .inf}}]}]",
		} {
			a := d.call(t, d.owner, "POST", "/apply", text, contentType("application/yaml"), malformed)
			wantProblem(t, what, 400, "invalid_request", a)
			if strings.Contains(string(a.Body), marker) {
				t.Errorf("%s: the problem has a value of the document: %s", what, a.Body)
			}
		}
		if after := d.Stored(configured...); after != before {
			t.Errorf("stored:\n%s\nbefore:\n%s", after, before)
		}
	})
}

func TestPreconditions(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		const path = "/tenants/default/clients/new"
		body := object{"auth": "none", "grants": []string{"token-exchange"}}
		wantProblem(t, "If-Match of what does not exist", 412, "precondition_failed", d.call(t, d.admin, "PUT", path, body, header("If-Match", "*")))
		made := want(t, 201, d.call(t, d.admin, "PUT", path, body, header("If-None-Match", "*")))
		first := made.Header.Get("ETag")
		wantProblem(t, "If-None-Match of what exists", 412, "precondition_failed", d.call(t, d.admin, "PUT", path, body, header("If-None-Match", "*")))
		if got := want(t, 200, d.call(t, d.viewer, "GET", path, nil)).Header.Get("ETag"); got != first {
			t.Errorf("ETag %s after GET, %s after PUT", got, first)
		}
		d.Clock.Advance(1e9)
		second := want(t, 200, d.call(t, d.admin, "PATCH", path, object{"name": "new"}, header("If-Match", first))).Header.Get("ETag")
		if second == first {
			t.Error("a change does not change the ETag")
		}
		before := d.Stored(configured...)
		for _, method := range []string{"PUT", "PATCH", "DELETE"} {
			sent := any(body)
			if method == "DELETE" {
				sent = nil
			}
			for _, tag := range []string{first, `"x", ` + first, "W/" + second, strings.Trim(second, `"`), `""`} {
				wantProblem(t, method+" with If-Match "+tag, 412, "precondition_failed", d.call(t, d.admin, method, path, sent, header("If-Match", tag)))
			}
		}
		if after := d.Stored(configured...); after != before {
			t.Error("a request whose precondition failed has changed something")
		}
		want(t, 200, d.call(t, d.admin, "PATCH", path, object{}, header("If-Match", `"x", `+second)))
		want(t, 204, d.call(t, d.admin, "DELETE", path, nil, header("If-Match", "*")))
	})
}

func TestAMergePatchChangesWhatItNames(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		const path = "/tenants/default/clients/new"
		want(t, 201, d.call(t, d.admin, "PUT", path, object{
			"auth": "secret", "secret": strings.Repeat("s", 40), "grants": []string{"token-exchange", "refresh"}, "name": "New", "preset": "mobile", "access_token_ttl": "4m",
			"claims": object{"plan": "user.?plan.orValue('free')", "org": "'acme'"}, "scopes": []string{"a", "b"}, "max_sessions_per_user": object{"limit": 3, "when_full": "reject"},
		}))
		for _, c := range []struct {
			what  string
			patch object
			want  object // members of the outcome; nil: absent
		}{
			{"nothing", object{}, object{"name": "New", "preset": "mobile", "access_token_ttl": "4m", "scopes": []any{"a", "b"}}},
			{"a value", object{"name": "Newer"}, object{"name": "Newer", "preset": "mobile"}},
			{"null", object{"name": nil}, object{"name": nil}},
			{"a member of a map", object{"claims": object{"plan": "'pro'"}}, object{"claims": object{"plan": "'pro'", "org": "'acme'"}}},
			{"null in a map", object{"claims": object{"org": nil, "level": "1"}}, object{"claims": object{"plan": "'pro'", "level": "1"}}},
			{"a nested object", object{"max_sessions_per_user": object{"limit": 5}}, object{"max_sessions_per_user": object{"limit": float64(5), "when_full": "reject"}}},
			{"a list as a whole", object{"scopes": []string{"c"}}, object{"scopes": []any{"c"}}},
			{"another preset", object{"preset": "consumer"}, object{"preset": "consumer", "access_token_ttl": nil, "scopes": []any{"c"}}},
			{"a preset with a value", object{"preset": "mobile", "access_token_ttl": "3m"}, object{"preset": "mobile", "access_token_ttl": "3m"}},
			{"a whole map as null", object{"claims": nil}, object{"claims": nil}},
		} {
			a := d.call(t, d.admin, "PATCH", path, c.patch)
			if a.Status != 200 {
				t.Errorf("%s: status %d %s", c.what, a.Status, a.Body)
				continue
			}
			for member, value := range c.want {
				if got, _ := json.Marshal(a.JSON[member]); string(got) != jsonOf(value) {
					t.Errorf("%s: %s is %s, want %s", c.what, member, got, jsonOf(value))
				}
			}
			if a.JSON["status"].(object)["secret"] != true {
				t.Errorf("%s: the secret is gone", c.what)
			}
		}
		// A patch may also be application/json. Only null removes the secret.
		a := want(t, 200, d.call(t, d.admin, "PATCH", path, object{"secret": nil, "auth": "none", "grants": []string{"token-exchange"}}, contentType("application/json")))
		if a.JSON["status"].(object)["secret"] != false {
			t.Errorf("null does not remove the secret: %s", a.Body)
		}
		wantProblem(t, "a patch of what does not exist", 404, "not_found", d.call(t, d.admin, "PATCH", "/tenants/default/clients/nobody", object{"name": "x"}))
	})
}

func jsonOf(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

func TestParallelPatchesOfDifferentMembersAllSurvive(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		other := d.otherNode()
		nodes := []*deployment{d, other}
		patches := []object{{"name": "Patched"}, {"scopes": []string{"x"}}, {"access_token_ttl": "3m"}, {"claims": object{"a": "1"}}, {"claims": object{"b": "2"}}}
		answers := testserver.InParallel(len(patches), func(i int) *testserver.Answer {
			for {
				a := nodes[i%2].call(t, d.admin, "PATCH", "/tenants/default/clients/web", patches[i])
				if a.Status != 409 || a.Text("code") != "conflict" {
					return a
				}
			}
		})
		for i, a := range answers {
			if a.Status != 200 {
				t.Errorf("patch %d: status %d %s", i, a.Status, a.Body)
			}
		}
		a := want(t, 200, d.call(t, d.viewer, "GET", "/tenants/default/clients/web", nil))
		if a.Text("name") != "Patched" || a.Text("access_token_ttl") != "3m" || jsonOf(a.JSON["scopes"]) != `["x"]` || jsonOf(a.JSON["claims"]) != `{"a":"1","b":"2"}` {
			t.Errorf("a patch is lost: %s", a.Body)
		}
		answers = testserver.InParallel(6, func(i int) *testserver.Answer {
			return nodes[i%2].call(t, d.admin, "PUT", "/tenants/default/users/alice", object{"attributes": object{fmt.Sprint("a", i): i}}, header("If-None-Match", "*"))
		})
		created := 0
		for _, a := range answers {
			if a.Status == 201 {
				created++
			}
		}
		if created != 1 {
			t.Errorf("%d of six requests have created one user", created)
		}
	})
}

func TestObjectsOfTheFileCanOnlyBeSuspended(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		d.applyFile(t)
		for _, path := range []string{"/tenants/owned", "/tenants/owned/clients/web", "/tenants/owned/trusted-issuers/owned", "/tenants/owned/users/zoe"} {
			a := want(t, 200, d.call(t, d.owner, "GET", path, nil))
			if a.JSON["status"].(object)["managed_by"] != "file" {
				t.Errorf("%s: managed by %v", path, a.JSON["status"])
			}
			want(t, 200, d.call(t, d.owner, "POST", path+"/suspend", nil))
			want(t, 200, d.call(t, d.owner, "POST", path+"/resume", nil))
		}
		before := d.Stored(configured...)
		wantProblem(t, "apply", 409, "managed_by_file", d.call(t, d.owner, "POST", "/apply", object{"tenants": []object{{"id": "owned", "clients": []object{{"id": "web", "name": "x"}}}}}))
		wantProblem(t, "apply of a tenant", 409, "managed_by_file", d.call(t, d.owner, "POST", "/apply", object{"tenants": []object{{"id": "owned", "store_device": false}}}))
		if after := d.Stored(configured...); after != before {
			t.Error("a refused request has changed something")
		}
		// Everybody may change an object that the file does not name.
		want(t, 201, d.call(t, d.admin, "PUT", "/tenants/owned/clients/new", object{"auth": "none", "grants": []string{"token-exchange"}}))
		want(t, 200, d.call(t, d.admin, "PATCH", "/tenants/owned/users/zoe", object{"attributes": object{"team": "a"}}))
	})
}

func TestARefusedApplyWritesNothing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		before := d.Stored(configured...)
		good := object{"id": "first", "auth": "none", "grants": []string{"token-exchange"}}
		for what, c := range map[string]struct {
			query string
			body  object
		}{
			"a fault in its last object":  {"", object{"tenants": []object{{"id": "acme", "clients": []object{good}}, {"id": "new", "clients": []object{with(good, object{"claims": object{"a": "("}})}}}}},
			"a fault between its objects": {"", object{"tenants": []object{{"id": "acme", "clients": []object{good, with(good, object{"id": "second", "resource_identifiers": []string{"https://same.example"}}), with(good, object{"id": "third", "resource_identifiers": []string{"https://same.example"}})}}}}},
			"one id twice":                {"", object{"tenants": []object{{"id": "acme", "clients": []object{good, good}}}}},
			"a fault in the result":       {"?prune=true&replace=true", object{"tenants": []object{{"id": "default", "clients": []object{with(good, object{"auth": "secret"})}}}}},
			"a user with a client's name": {"", object{"tenants": []object{{"id": "acme", "clients": []object{good}, "users": []object{{"sub": "first"}}}}}},
		} {
			a := d.call(t, d.owner, "POST", "/apply"+c.query, c.body)
			if a.Status != 400 {
				t.Errorf("%s: status %d %s", what, a.Status, a.Body)
			}
			if after := d.Stored(configured...); after != before {
				t.Errorf("%s: stored:\n%s\nbefore:\n%s", what, after, before)
			}
		}
		want(t, 200, d.call(t, d.owner, "POST", "/apply?dry_run=true", object{"tenants": []object{{"id": "acme", "clients": []object{good}}}}))
		if after := d.Stored(configured...); after != before {
			t.Error("a dry run has written")
		}
	})
}
