package handlers_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

var anyJTI = regexp.MustCompile(`"jti":"[0-9a-f]{32}"`)

// In what is wanted, ${390} is 390 seconds from now.
func TestRevocationsTellOfEveryEndBeforeItsTime(t *testing.T) {
	apply := func(change func(*models.TenantSpec)) func(w *world, a *testserver.Answer) {
		return func(w *world, _ *testserver.Answer) {
			tenant := testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend())
			change(&tenant)
			w.Apply(tenant)
			if tenant.Disabled { // nobody may ask meanwhile
				tenant.Disabled = false
				w.Apply(tenant)
			}
		}
	}
	const session = `{"sid":"${sid}","at":${0},"until":${390}}`
	for name, c := range map[string]struct {
		end  func(w *world, a *testserver.Answer)
		want string
	}{
		"a sign-out": {(*world).signOut, session},
		"a used refresh token": {func(w *world, a *testserver.Answer) {
			used := a.Text("refresh_token")
			w.want(200, "", w.Refresh("", "web", w.want(200, "", w.Refresh("", "web", used)).Text("refresh_token")))
			w.Clock.Advance(time.Minute)
			w.want(400, "invalid_grant", w.Refresh("", "web", used))
		}, session},
		"a sign-in beyond the cap": {func(w *world, _ *testserver.Answer) {
			web := testserver.Web()
			web.MaxSessionsPerUser = &models.SessionCap{Limit: 1}
			w.Apply(testserver.Tenant("default", w.issuer, web, testserver.Backend()))
			w.signIn("alice")
		}, session},
		"a token without a session": {func(w *world, _ *testserver.Answer) {
			w.want(200, "", w.Post("/revoke", []string{"token", w.machineToken()}, asBackend()))
		}, `{"jti":"*","at":${0},"until":${390}}`},
		"a user who is disabled": {apply(func(t *models.TenantSpec) { t.Users = []models.UserSpec{{Sub: "alice", Disabled: true}} }),
			`{"sub":"alice","before":${3},"at":${0},"until":${86493}}`},
		"a client that is disabled": {apply(func(t *models.TenantSpec) { t.Clients[0].Disabled = true }),
			`{"client_id":"web","before":${16},"at":${0},"until":${86506}}`},
		"an issuer that is disabled": {apply(func(t *models.TenantSpec) { t.TrustedIssuers[0].Disabled = true }),
			`{"issuer":"${issuer}","before":${3},"at":${0},"until":${86493}}`},
		"a tenant that was disabled": {apply(func(t *models.TenantSpec) { t.Disabled = true }),
			`{"client_id":"backend","before":${16},"at":${0},"until":${86506}},{"client_id":"web","before":${16},"at":${0},"until":${86506}}`},
	} {
		t.Run(name, func(t *testing.T) {
			eachFollowing(t, func(t *testing.T, w *world) {
				if a := w.revocations(""); !strings.HasSuffix(string(a.Body), `"revoked":[]}`) {
					t.Errorf("before anything was revoked: %s", a.Body)
				}
				a := w.signIn("alice")
				c.end(w, a)
				want := os.Expand(c.want, func(name string) string {
					seconds, err := strconv.ParseInt(name, 10, 64)
					if err == nil {
						return w.now(seconds)
					}
					return map[string]string{"sid": a.Text("session_id"), "issuer": w.issuer.URL}[name]
				})
				got := w.untilRevoked(1)
				_, list, _ := strings.Cut(string(got.Body), `"revoked":`)
				if list = anyJTI.ReplaceAllString(list, `"jti":"*"`); list != "["+want+"]}" {
					t.Errorf("told of %s\nwant        [%s]}", list, want)
				}
				if got.JSON["as_of"] != float64(w.Clock.Now().Unix()) || got.Text("cursor") == "" || got.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%v %s", got.Header, got.Body)
				}
			})
		})
	}
}

// What nobody accepts any more is not told: when a session ends by time, its
// last access token has.
func TestRevocationsTellOfNothingThatIsOver(t *testing.T) {
	eachFollowing(t, func(t *testing.T, w *world) {
		w.signOut(w.signIn("alice"))
		w.signIn("bob") // and never comes back
		w.untilRevoked(1)
		w.Clock.Advance(389 * time.Second)
		w.untilRevoked(1)
		w.pass(time.Second)
		if a := w.revocations(""); len(a.JSON["revoked"].([]any)) != 0 {
			t.Errorf("390 s after a sign-out: %s", a.Body)
		}
		w.Clock.Advance(40 * 24 * time.Hour)
		for range 2 {
			if _, err := w.Store.Prune(t.Context(), w.Clock.Now()); err != nil {
				t.Fatal(err)
			}
		}
		w.signOut(w.signIn("carol"))
		if a := w.untilRevoked(1); len(a.JSON["revoked"].([]any)) != 1 {
			t.Errorf("after a session has ended by time: %s", a.Body)
		}
	})
}

func TestAClientIsToldOfWhatItMayIntrospect(t *testing.T) {
	secret := func(id string, more func(*models.ClientSettings)) models.ClientSpec {
		c := models.ClientSpec{ID: id, Secret: testserver.ClientSecret, ClientSettings: models.ClientSettings{
			Auth: models.AuthSecret, Grants: []string{models.GrantTokenExchange, models.GrantRefresh, models.GrantClientCredentials},
		}}
		more(&c.ClientSettings)
		return c
	}
	clients := []models.ClientSpec{
		testserver.Web(), testserver.Backend(),
		secret("api", func(c *models.ClientSettings) { c.ResourceIdentifiers = []string{"https://api.example.com"} }),
		secret("shop", func(c *models.ClientSettings) { c.Audiences = []string{"files"} }),
		secret("files", func(*models.ClientSettings) {}),
		secret("stranger", func(*models.ClientSettings) {}),
		{ID: "old", ClientSettings: models.ClientSettings{Auth: models.AuthNone}},
	}
	eachFollowing(t, func(t *testing.T, w *world) {
		tenant := testserver.Tenant("default", w.issuer, slices.Clone(clients)...)
		w.Apply(tenant)
		as := func(id string) testserver.Option { return testserver.Basic(id, testserver.ClientSecret) }
		atShop := func(extra ...string) *testserver.Answer {
			return w.want(200, "", w.Post("/token", append([]string{"grant_type", tokenExchange, "subject_token_type", ofJWT,
				"subject_token", w.issuer.Token(w.URL, "alice", nil)}, extra...), as("shop")))
		}
		names := map[any]string{}
		end := func(name, client string, a *testserver.Answer) {
			names[a.Text("session_id")] = name
			form, opts := []string{"token", a.Text("refresh_token")}, []testserver.Option{as(client)}
			if client == "web" {
				form, opts = append(form, "client_id", "web"), nil
			}
			w.want(200, "", w.Post("/revoke", form, opts...))
		}
		end("for api", "web", w.signIn("alice", "audience", "https://api.example.com"))
		end("of web", "web", w.signIn("alice"))
		end("of shop", "shop", atShop())
		end("for files", "shop", atShop("audience", "files"))
		machine := w.want(200, "", w.Post("/token", []string{"grant_type", "client_credentials", "audience", "files"}, as("shop"))).Text("access_token")
		w.want(200, "", w.Post("/revoke", []string{"token", machine}, as("shop")))
		w.signIn("bob", "audience", "https://api.example.com")
		w.signIn("carol")
		tenant.Users = []models.UserSpec{{Sub: "bob", Disabled: true}, {Sub: "carol", Disabled: true}}
		tenant.Clients[6].Disabled = true
		w.Apply(tenant)
		w.untilRevoked(8)
		for id, want := range map[string]string{
			"backend":  "bob, carol, for api, for files, machine, of shop, of web, old",
			"api":      "bob, for api, old",
			"shop":     "for files, machine, of shop, old",
			"files":    "for files, machine, old",
			"stranger": "old",
		} {
			var got []string
			for _, e := range w.revocations("", as(id)).JSON["revoked"].([]any) {
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
				t.Errorf("%s is told of %q, want %q", id, text, want)
			}
		}
	})
}

func TestRevocationsRefuse(t *testing.T) {
	eachFollowing(t, func(t *testing.T, w *world) {
		off := testserver.Backend()
		off.ID, off.Disabled = "off", true
		foreign := testserver.Backend()
		foreign.ID = "foreign"
		api := testserver.Backend()
		api.ID, api.Introspect, api.ResourceIdentifiers = "api", models.IntrospectAudience, []string{"https://api.example.com"}
		w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend(), api, off), testserver.Tenant("acme", w.issuer, foreign))
		a := w.signIn("alice")
		good := asBackend()
		for name, c := range map[string]struct {
			method, path string
			opts         []testserver.Option
			status       int
			code         string
		}{
			"nobody":                            {status: 401, code: "invalid_client"},
			"a public client":                   {opts: []testserver.Option{testserver.Basic("web", "")}, status: 401, code: "invalid_client"},
			"a wrong secret":                    {opts: []testserver.Option{testserver.Basic("backend", "wrong")}, status: 401, code: "invalid_client"},
			"an unknown client":                 {opts: []testserver.Option{testserver.Basic("nobody", testserver.ClientSecret)}, status: 401, code: "invalid_client"},
			"a disabled client":                 {opts: []testserver.Option{testserver.Basic("off", testserver.ClientSecret)}, status: 401, code: "invalid_client"},
			"a client of another tenant":        {opts: []testserver.Option{testserver.Basic("foreign", testserver.ClientSecret)}, status: 401, code: "invalid_client"},
			"a client at another tenant":        {path: "/t/acme/revocations", opts: []testserver.Option{good}, status: 401, code: "invalid_client"},
			"an access token":                   {opts: []testserver.Option{authorization("Bearer " + a.Text("access_token"))}, status: 401, code: "invalid_client"},
			"credentials in the URL":            {path: "/revocations?client_id=backend&client_secret=" + testserver.ClientSecret, status: 400, code: "invalid_request"},
			"a client id in the URL":            {path: "/revocations?client_id=backend", opts: []testserver.Option{good}, status: 400, code: "invalid_request"},
			"a malformed cursor":                {path: "/revocations?cursor=x", opts: []testserver.Option{good}, status: 400, code: "invalid_request"},
			"a cursor without an epoch":         {path: "/revocations?cursor=.1.2", opts: []testserver.Option{good}, status: 400, code: "invalid_request"},
			"two cursors":                       {path: "/revocations?cursor=a.1.b&cursor=a.1.b", opts: []testserver.Option{good}, status: 400, code: "invalid_request"},
			"another's audience":                {path: "/revocations?audience=api&audience=web", opts: []testserver.Option{testserver.Basic("api", testserver.ClientSecret)}, status: 403, code: "unauthorized_client"},
			"a malformed query":                 {path: "/revocations?%", opts: []testserver.Option{good}, status: 400, code: "invalid_request"},
			"a tenant that is none":             {path: "/t/none/revocations", opts: []testserver.Option{good}, status: 404, code: "not_found"},
			"another method":                    {method: "POST", opts: []testserver.Option{good}, status: 405, code: "invalid_request"},
			"a preflight":                       {method: "OPTIONS", opts: []testserver.Option{testserver.Header("Access-Control-Request-Method", "GET")}, status: 405, code: "invalid_request"},
			"a wrong secret that wants streams": {opts: []testserver.Option{testserver.Basic("backend", "wrong"), testserver.Header("Accept", "text/event-stream")}, status: 401, code: "invalid_client"},
		} {
			if c.method == "" {
				c.method = "GET"
			}
			if c.path == "" {
				c.path = "/revocations"
			}
			got := w.Do(c.method, c.path, nil, append(c.opts, testserver.Header("Origin", "https://app.example.com"))...)
			if got.Status != c.status || got.Error() != c.code || got.Header.Get("Access-Control-Allow-Origin") != "" || got.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %s %v", name, got.Status, got.Body, got.Header)
			}
			if basic := strings.HasPrefix(got.Header.Get("WWW-Authenticate"), "Basic "); basic != (c.status == 401) {
				t.Errorf("%s: WWW-Authenticate %q", name, got.Header.Get("WWW-Authenticate"))
			}
		}
		for query, as := range map[string]string{"audience=api&audience=https://api.example.com": "api", "audience=https://other.example.com": "backend"} {
			w.want(200, "", w.Get("/revocations?"+query, testserver.Basic(as, testserver.ClientSecret)))
		}
		if a := w.Get("/revocations", good, testserver.Header("Origin", "https://app.example.com")); a.Status != 200 || a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%d %v", a.Status, a.Header)
		}
		wrong := testserver.Basic("backend", "guessed")
		for range 10 {
			w.Get("/revocations", wrong)
		}
		if a := w.Get("/revocations", wrong); a.Status != 429 || a.Header.Get("Retry-After") == "" {
			t.Errorf("guessing goes on: %d %s", a.Status, a.Body)
		}
		w.want(200, "", w.Get("/revocations", good))
	})
}

func TestACursorSparesWhatIsKnown(t *testing.T) {
	eachFollowing(t, func(t *testing.T, w *world) {
		web := testserver.Web()
		narrow := testserver.Backend()
		narrow.Introspect = ""
		w.signOut(w.signIn("alice"))
		first := w.untilRevoked(1)
		w.pass(time.Minute)
		cursor := w.revocations("").Text("cursor")
		a := w.signIn("bob")
		w.signOut(a)
		w.untilRevoked(2)
		told := func(query string) int { return len(w.revocations(query).JSON["revoked"].([]any)) }
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
			if got := told("?cursor=" + c.cursor); got != c.want {
				t.Errorf("%s: told of %d, want %d", name, got, c.want)
			}
		}
		w.Apply(testserver.Tenant("default", w.issuer, web, narrow))
		hidden := w.revocations("")
		w.Apply(testserver.Tenant("default", w.issuer, web, testserver.Backend()))
		if got := told("?cursor=" + hidden.Text("cursor")); len(hidden.JSON["revoked"].([]any)) != 0 || got != 2 {
			t.Errorf("a client that may see more than before is told of %d, before that %s", got, hidden.Body)
		}
	})
}
