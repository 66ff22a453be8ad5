package testfeed

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

var anyJTI = regexp.MustCompile(`"jti":"[0-9a-f]{32}"`)

// In the expected text, ${390} is 390 seconds from now.
func TestRevocationsReportEveryEarlyEnd(t *testing.T) {
	apply := func(change func(*settings.TenantSpec)) func(d *testserver.Deployment, a *testserver.Answer) {
		return func(d *testserver.Deployment, _ *testserver.Answer) {
			tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
			change(&tenant)
			d.Apply(tenant)
			if tenant.Disabled { // no client may read the feed meanwhile
				tenant.Disabled = false
				d.Apply(tenant)
			}
		}
	}
	const session = `{"sid":"${sid}","at":${0},"until":${390}}`
	for name, c := range map[string]struct {
		end  func(d *testserver.Deployment, a *testserver.Answer)
		want string
	}{
		"a sign-out": {signOut, session},
		"a used refresh token": {func(d *testserver.Deployment, a *testserver.Answer) {
			used := a.Text("refresh_token")
			d.Want(200, "", d.Refresh("", "web", d.Want(200, "", d.Refresh("", "web", used)).Text("refresh_token")))
			d.Clock.Advance(time.Minute)
			d.Want(400, "invalid_grant", d.Refresh("", "web", used))
		}, session},
		"a sign-in beyond the cap": {func(d *testserver.Deployment, _ *testserver.Answer) {
			web := testserver.Web()
			web.MaxSessionsPerUser = &settings.SessionCap{Limit: 1}
			d.Apply(testserver.Tenant("default", d.Issuer, web, testserver.Backend()))
			d.SignIn("alice")
		}, session},
		"a token without a session": {func(d *testserver.Deployment, _ *testserver.Answer) {
			d.Want(200, "", d.Post("/revoke", []string{"token", d.MachineToken()}, testserver.AsBackend()))
		}, `{"jti":"*","at":${0},"until":${390}}`},
		"a user who is disabled": {apply(func(t *settings.TenantSpec) { t.Users = []settings.UserSpec{{Sub: "alice", Disabled: true}} }),
			`{"sub":"alice","before":${3},"at":${0},"until":${86493}}`},
		"a client that is disabled": {apply(func(t *settings.TenantSpec) { t.Clients[0].Disabled = true }),
			`{"client_id":"web","before":${16},"at":${0},"until":${86506}}`},
		"an issuer that is disabled": {apply(func(t *settings.TenantSpec) { t.TrustedIssuers[0].Disabled = true }),
			`{"issuer":"${issuer}","before":${3},"at":${0},"until":${86493}}`},
		"a tenant that was disabled": {apply(func(t *settings.TenantSpec) { t.Disabled = true }),
			`{"client_id":"backend","before":${16},"at":${0},"until":${86506}},{"client_id":"web","before":${16},"at":${0},"until":${86506}}`},
	} {
		t.Run(name, func(t *testing.T) {
			eachFollower(t, func(t *testing.T, d *testserver.Deployment) {
				if a := revocations(d, ""); !strings.HasSuffix(string(a.Body), `"revoked":[]}`) {
					t.Errorf("before anything was revoked: %s", a.Body)
				}
				a := d.SignIn("alice")
				c.end(d, a)
				want := os.Expand(c.want, func(name string) string {
					seconds, err := strconv.ParseInt(name, 10, 64)
					if err == nil {
						return d.JSONTime(seconds)
					}
					return map[string]string{"sid": a.Text("session_id"), "issuer": d.Issuer.URL}[name]
				})
				got := untilRevoked(d, 1)
				_, list, _ := strings.Cut(string(got.Body), `"revoked":`)
				if list = anyJTI.ReplaceAllString(list, `"jti":"*"`); list != "["+want+"]}" {
					t.Errorf("got  %s\nwant [%s]}", list, want)
				}
				if got.JSON["as_of"] != float64(d.Clock.Now().Unix()) || got.Text("cursor") == "" || got.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%v %s", got.Header, got.Body)
				}
			})
		})
	}
}

// The feed omits tokens that nobody accepts any longer: when a session expires, its last
// access token has expired.
func TestRevocationsOmitExpiredEntries(t *testing.T) {
	eachFollower(t, func(t *testing.T, d *testserver.Deployment) {
		signOut(d, d.SignIn("alice"))
		d.SignIn("bob") // who does not return
		untilRevoked(d, 1)
		d.Clock.Advance(389 * time.Second)
		untilRevoked(d, 1)
		pass(d, time.Second)
		if a := revocations(d, ""); len(a.JSON["revoked"].([]any)) != 0 {
			t.Errorf("390 s after a sign-out: %s", a.Body)
		}
		d.Clock.Advance(40 * 24 * time.Hour)
		for range 2 {
			if _, err := d.Store.Prune(t.Context(), d.Clock.Now()); err != nil {
				t.Fatal(err)
			}
		}
		signOut(d, d.SignIn("carol"))
		if a := untilRevoked(d, 1); len(a.JSON["revoked"].([]any)) != 1 {
			t.Errorf("after a session has ended by time: %s", a.Body)
		}
	})
}

func TestAClientSeesTheRevocationsThatItMayIntrospect(t *testing.T) {
	secret := func(id string, more func(*settings.ClientSettings)) settings.ClientSpec {
		c := settings.ClientSpec{ID: id, Secret: testserver.ClientSecret, ClientSettings: settings.ClientSettings{
			Auth: settings.AuthSecret, Grants: []string{settings.GrantTokenExchange, settings.GrantRefresh, settings.GrantClientCredentials},
		}}
		more(&c.ClientSettings)
		return c
	}
	clients := []settings.ClientSpec{
		testserver.Web(), testserver.Backend(),
		secret("api", func(c *settings.ClientSettings) { c.ResourceIdentifiers = []string{"https://api.example.com"} }),
		secret("shop", func(c *settings.ClientSettings) { c.Audiences = []string{"files"} }),
		secret("files", func(*settings.ClientSettings) {}),
		secret("stranger", func(*settings.ClientSettings) {}),
		{ID: "old", ClientSettings: settings.ClientSettings{Auth: settings.AuthNone}},
	}
	eachFollower(t, func(t *testing.T, d *testserver.Deployment) {
		tenant := testserver.Tenant("default", d.Issuer, slices.Clone(clients)...)
		d.Apply(tenant)
		as := func(id string) testserver.Option { return testserver.Basic(id, testserver.ClientSecret) }
		atShop := func(extra ...string) *testserver.Answer {
			return d.Want(200, "", d.Post("/token", append([]string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT,
				"subject_token", d.Issuer.Token(d.URL, "alice", nil)}, extra...), as("shop")))
		}
		names := map[any]string{}
		end := func(name, client string, a *testserver.Answer) {
			names[a.Text("session_id")] = name
			form, opts := []string{"token", a.Text("refresh_token")}, []testserver.Option{as(client)}
			if client == "web" {
				form, opts = append(form, "client_id", "web"), nil
			}
			d.Want(200, "", d.Post("/revoke", form, opts...))
		}
		end("for api", "web", d.SignIn("alice", "audience", "https://api.example.com"))
		end("of web", "web", d.SignIn("alice"))
		end("of shop", "shop", atShop())
		end("for files", "shop", atShop("audience", "files"))
		machine := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials", "audience", "files"}, as("shop"))).Text("access_token")
		d.Want(200, "", d.Post("/revoke", []string{"token", machine}, as("shop")))
		d.SignIn("bob", "audience", "https://api.example.com")
		d.SignIn("carol")
		tenant.Users = []settings.UserSpec{{Sub: "bob", Disabled: true}, {Sub: "carol", Disabled: true}}
		tenant.Clients[6].Disabled = true
		d.Apply(tenant)
		untilRevoked(d, 8)
		for id, want := range map[string]string{
			"backend":  "bob, carol, for api, for files, machine, of shop, of web, old",
			"api":      "bob, for api, old",
			"shop":     "for files, machine, of shop, old",
			"files":    "for files, machine, old",
			"stranger": "old",
		} {
			var got []string
			for _, e := range revocations(d, "", as(id)).JSON["revoked"].([]any) {
				entry := e.(map[string]any)
				switch {
				case entry["sid"] != nil:
					got = append(got, names[entry["sid"]])
				case entry["jti"] != nil:
					got = append(got, "machine")
				case entry["sub"] != nil:
					got = append(got, entry["sub"].(string))
				default:
					got = append(got, entry["client_id"].(string))
				}
			}
			slices.Sort(got)
			if text := strings.Join(got, ", "); text != want {
				t.Errorf("%s gets %q, want %q", id, text, want)
			}
		}
	})
}

func TestRevocationsReject(t *testing.T) {
	eachFollower(t, func(t *testing.T, d *testserver.Deployment) {
		off := testserver.Backend()
		off.ID, off.Disabled = "off", true
		foreign := testserver.Backend()
		foreign.ID = "foreign"
		api := testserver.Backend()
		api.ID, api.Introspect, api.ResourceIdentifiers = "api", settings.IntrospectAudience, []string{"https://api.example.com"}
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), api, off), testserver.Tenant("acme", d.Issuer, foreign))
		a := d.SignIn("alice")
		good := testserver.AsBackend()
		for name, c := range map[string]struct {
			method, path string
			opts         []testserver.Option
			status       int
			code         string
		}{
			"nobody":                      {status: 401, code: "invalid_client"},
			"a public client":             {opts: []testserver.Option{testserver.Basic("web", "")}, status: 401, code: "invalid_client"},
			"a wrong secret":              {opts: []testserver.Option{testserver.Basic("backend", "wrong")}, status: 401, code: "invalid_client"},
			"an unknown client":           {opts: []testserver.Option{testserver.Basic("nobody", testserver.ClientSecret)}, status: 401, code: "invalid_client"},
			"a disabled client":           {opts: []testserver.Option{testserver.Basic("off", testserver.ClientSecret)}, status: 401, code: "invalid_client"},
			"a client of another tenant":  {opts: []testserver.Option{testserver.Basic("foreign", testserver.ClientSecret)}, status: 401, code: "invalid_client"},
			"a client at another tenant":  {path: "/t/acme/revocations", opts: []testserver.Option{good}, status: 401, code: "invalid_client"},
			"an access token":             {opts: []testserver.Option{testserver.Authorization("Bearer " + a.Text("access_token"))}, status: 401, code: "invalid_client"},
			"credentials in the URL":      {path: "/revocations?client_id=backend&client_secret=" + testserver.ClientSecret, status: 400, code: "invalid_request"},
			"a client id in the URL":      {path: "/revocations?client_id=backend", opts: []testserver.Option{good}, status: 400, code: "invalid_request"},
			"a malformed cursor":          {path: "/revocations?cursor=x", opts: []testserver.Option{good}, status: 400, code: "invalid_request"},
			"a cursor without an epoch":   {path: "/revocations?cursor=.1.2", opts: []testserver.Option{good}, status: 400, code: "invalid_request"},
			"two cursors":                 {path: "/revocations?cursor=a.1.b&cursor=a.1.b", opts: []testserver.Option{good}, status: 400, code: "invalid_request"},
			"another's audience":          {path: "/revocations?audience=api&audience=web", opts: []testserver.Option{testserver.Basic("api", testserver.ClientSecret)}, status: 403, code: "unauthorized_client"},
			"a malformed query":           {path: "/revocations?%", opts: []testserver.Option{good}, status: 400, code: "invalid_request"},
			"an unknown tenant":           {path: "/t/none/revocations", opts: []testserver.Option{good}, status: 404, code: "not_found"},
			"another method":              {method: "POST", opts: []testserver.Option{good}, status: 405, code: "invalid_request"},
			"a preflight":                 {method: "OPTIONS", opts: []testserver.Option{testserver.Header("Access-Control-Request-Method", "GET")}, status: 405, code: "invalid_request"},
			"a wrong secret for a stream": {opts: []testserver.Option{testserver.Basic("backend", "wrong"), testserver.Header("Accept", "text/event-stream")}, status: 401, code: "invalid_client"},
		} {
			if c.method == "" {
				c.method = "GET"
			}
			if c.path == "" {
				c.path = "/revocations"
			}
			got := d.Do(c.method, c.path, nil, c.opts...)
			if got.Status != c.status || got.Error() != c.code || got.Header.Get("Access-Control-Allow-Origin") != "" || got.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %s %v", name, got.Status, got.Body, got.Header)
			}
			if basic := strings.HasPrefix(got.Header.Get("WWW-Authenticate"), "Basic "); basic != (c.status == 401) {
				t.Errorf("%s: WWW-Authenticate %q", name, got.Header.Get("WWW-Authenticate"))
			}
		}
		for query, as := range map[string]string{"audience=api&audience=https://api.example.com": "api", "audience=https://other.example.com": "backend"} {
			d.Want(200, "", d.Get("/revocations?"+query, testserver.Basic(as, testserver.ClientSecret)))
		}
		if a := d.Get("/revocations", good, testserver.Header("Origin", "https://app.example.com")); a.Status != 403 || a.Text("latchkey_reason") != "origin_not_listed" || a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%d %v", a.Status, a.Header)
		}
		wrong := testserver.Basic("backend", "guessed")
		for range 10 {
			d.Get("/revocations", wrong)
		}
		if a := d.Get("/revocations", wrong); a.Status != 429 || a.Header.Get("Retry-After") == "" {
			t.Errorf("guessing is still possible: %d %s", a.Status, a.Body)
		}
		d.Want(200, "", d.Get("/revocations", good))
	})
}

func TestClientsThatSeeEverythingShareAView(t *testing.T) {
	eachFollower(t, func(t *testing.T, d *testserver.Deployment) {
		auditor := testserver.Backend()
		auditor.ID = "auditor"
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), auditor))
		signOut(d, d.SignIn("alice"))
		untilRevoked(d, 1)
		pass(d, time.Minute)
		cursor := revocations(d, "").Text("cursor")
		signOut(d, d.SignIn("bob"))
		untilRevoked(d, 2)
		a := d.Get("/revocations?cursor="+cursor, testserver.Basic("auditor", testserver.ClientSecret))
		if reported, _ := a.JSON["revoked"].([]any); a.Status != 200 || len(reported) != 1 {
			t.Errorf("with the cursor of the other: %d %s", a.Status, a.Body)
		}
	})
}

func TestACursorSkipsKnownEntries(t *testing.T) {
	eachFollower(t, func(t *testing.T, d *testserver.Deployment) {
		web := testserver.Web()
		narrow := testserver.Backend()
		narrow.Introspect = ""
		signOut(d, d.SignIn("alice"))
		first := untilRevoked(d, 1)
		pass(d, time.Minute)
		cursor := revocations(d, "").Text("cursor")
		a := d.SignIn("bob")
		signOut(d, a)
		untilRevoked(d, 2)
		reported := func(query string) int { return len(revocations(d, query).JSON["revoked"].([]any)) }
		epoch, rest, _ := strings.Cut(cursor, ".")
		moment, view, _ := strings.Cut(rest, ".")
		for name, c := range map[string]struct {
			cursor string
			want   int
		}{
			"the last one":             {cursor, 1},
			"the first one":            {first.Text("cursor"), 2},
			"one of another database":  {"another." + moment + "." + view, 2},
			"one of another view":      {epoch + "." + moment + ".another", 2},
			"one of a time to come":    {epoch + ".9999999999999999." + view, 2},
			"one of long ago":          {epoch + ".1." + view, 2},
			"one of before the epochs": {epoch + ".-9223372036854775808." + view, 2},
		} {
			if got := reported("?cursor=" + c.cursor); got != c.want {
				t.Errorf("%s: got %d entries, want %d", name, got, c.want)
			}
		}
		d.Apply(testserver.Tenant("default", d.Issuer, web, narrow))
		hidden := revocations(d, "")
		d.Apply(testserver.Tenant("default", d.Issuer, web, testserver.Backend()))
		if got := reported("?cursor=" + hidden.Text("cursor")); len(hidden.JSON["revoked"].([]any)) != 0 || got != 2 {
			t.Errorf("a client that may see more than before gets %d entries, before that %s", got, hidden.Body)
		}
	})
}
