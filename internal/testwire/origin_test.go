package testwire

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// Origins that the client web lists in addition to its site.
const (
	ofShell   = "capacitor://localhost"
	ofPreview = "https://pr-7.preview.example.com"
)

// newOriginDeployment has three clients: web, other and the back end support.
func newOriginDeployment(t *testing.T, o testserver.Options) *testserver.Deployment {
	t.Helper()
	d := testserver.NewSessionDeployment(t, o)
	tenant := testserver.SessionTenant(d.Issuer)
	other := testserver.Web()
	other.ID, other.Origins = "neighbour", []string{testserver.OriginOther}
	for i := range tenant.Clients {
		if tenant.Clients[i].ID == "web" {
			tenant.Clients[i].Origins = []string{testserver.OriginWeb, ofShell, "https://*.preview.example.com"}
		}
	}
	tenant.Clients = append(tenant.Clients, other)
	d.Apply(tenant)
	return d
}

func TestARequestOfAnUnlistedOriginIsRejectedBeforeAnyWrite(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newOriginDeployment(t, testserver.Options{DatabaseURL: url})
		a := d.SignIn("alice")
		proof := d.Issuer.Token(d.URL, "alice", nil)
		exchange := []string{"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT, "subject_token", proof}
		requests := map[string]func(opts ...testserver.Option) *testserver.Answer{
			"an exchange": func(opts ...testserver.Option) *testserver.Answer { return d.Post("/token", exchange, opts...) },
			"a step-up": func(opts ...testserver.Option) *testserver.Answer {
				return d.Post("/token", append(exchange, "latchkey_session_token", a.Text("refresh_token")), opts...)
			},
			"a refresh": func(opts ...testserver.Option) *testserver.Answer {
				return d.Post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", a.Text("refresh_token")}, opts...)
			},
			"a revocation": func(opts ...testserver.Option) *testserver.Answer {
				return d.Post("/revoke", []string{"client_id", "web", "token", a.Text("refresh_token")}, opts...)
			},
		}
		for _, request := range []string{"DELETE /session", "DELETE /sessions?scope=all", "DELETE /sessions/" + a.Text("session_id"), "GET /sessions", "GET /session", "GET /userinfo"} {
			requests[request] = func(opts ...testserver.Option) *testserver.Answer {
				return d.Request(request, append(opts, testserver.AsBearer(a))...)
			}
		}
		for _, request := range []string{"GET /sessions?sub=alice", "DELETE /sessions?sub=alice", "POST /sessions/" + a.Text("session_id") + "/extend"} {
			requests[request] = func(opts ...testserver.Option) *testserver.Answer {
				return d.Request(request, append(opts, testserver.AsSupport())...)
			}
		}
		before := d.Written()
		for name, request := range requests {
			for _, origin := range []string{
				testserver.OriginEvil, testserver.OriginOther, "null", "https://preview.example.com", "https://a.b.preview.example.com",
				"https://xpreview.example.com", "http://pr-7.preview.example.com", "https://.preview.example.com", "https://*.preview.example.com", "capacitor://localhost.evil.example",
				testserver.OriginWeb + ":443", "https://APP.example.com", testserver.OriginWeb + " " + testserver.OriginEvil,
			} {
				d.Log.Take()
				answer := request(testserver.Origin(origin))
				if answer.Status != http.StatusForbidden || answer.Error() != "invalid_request" || answer.Text("latchkey_reason") != "origin_not_listed" {
					t.Errorf("%s from %s: %d %s", name, origin, answer.Status, answer.Body)
				}
				testserver.WantAllowedOrigin(t, name+" from "+origin, answer, "")
				if log := d.Log.Take(); !strings.Contains(log, `"level":"WARN"`) || !strings.Contains(log, `"received":"`+origin+`"`) {
					t.Errorf("%s from %s: the log does not name the origin: %s", name, origin, log)
				}
			}
		}
		d.WantUnchanged(t, before)
		for _, origin := range []string{testserver.OriginWeb, ofShell, ofPreview, d.URL} {
			answer := requests["a refresh"](testserver.Origin(origin))
			if answer.Status != http.StatusOK {
				t.Errorf("a refresh from %s: %d %s", origin, answer.Status, answer.Body)
			}
			if origin != d.URL {
				testserver.WantAllowedOrigin(t, "a refresh from "+origin, answer, origin)
			}
		}
		d.Want(200, "", requests["an exchange"]()) // the client token was never spent
	})
}

func TestAnOriginIsCheckedBeforeTheClientIsLookedUp(t *testing.T) {
	d := newOriginDeployment(t, testserver.OnSQLite(t))
	form := []string{"grant_type", "refresh_token", "client_id", "nobody", "client_secret", "guess", "refresh_token", "x"}
	for range 30 { // requests from an unlisted page must not count as guesses
		if a := d.Post("/token", form, testserver.Origin(testserver.OriginEvil)); a.Status != 403 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	d.Want(401, "invalid_client", d.Post("/token", form, testserver.Origin(testserver.OriginWeb)))
	two := func(r *http.Request) { r.Header["Origin"] = []string{testserver.OriginWeb, testserver.OriginWeb} }
	if a := d.Post("/token", form, two); a.Text("latchkey_reason") != "origin_not_listed" {
		t.Errorf("two headers: %d %s", a.Status, a.Body)
	}
}

func TestBackEndEndpointsAcceptNoOrigin(t *testing.T) {
	d := newOriginDeployment(t, testserver.OnSQLite(t))
	sid := d.SignIn("alice").Text("session_id")
	for _, origin := range []string{testserver.OriginWeb, testserver.OriginEvil, "null", d.URL} {
		for _, request := range []string{"POST /introspect", "GET /revocations", "GET /sessions?sub=alice", "POST /sessions/" + sid + "/extend", "DELETE /sessions/" + sid} {
			if a := d.Request(request, testserver.AsSupport(), testserver.Origin(origin), testserver.ContentType(testserver.FormType)); a.Text("latchkey_reason") != "origin_not_listed" {
				t.Errorf("%s from %s: %d %s", request, origin, a.Status, a.Body)
			}
		}
	}
}

func TestPublicRoutesAreOpenToEveryOrigin(t *testing.T) {
	d := newOriginDeployment(t, testserver.OnSQLite(t))
	for path, status := range map[string]int{"/.well-known/jwks.json": 200, "/.well-known/openid-configuration": 200, "/healthz": 200, "/readyz": 0, "/status/7": 404} {
		for _, origin := range []string{testserver.OriginEvil, "null"} {
			if a := d.Get(path, testserver.Origin(origin)); a.Status == 403 || status != 0 && a.Status != status {
				t.Errorf("%s from %s: %d %s", path, origin, a.Status, a.Body)
			}
		}
	}
	if a := d.Do(http.MethodOptions, "/token", nil, testserver.Origin(testserver.OriginEvil)); a.Status != 204 {
		t.Errorf("a preflight: %d", a.Status)
	}
}

func TestANewOriginIsAcceptedWithinFiveSeconds(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		refresh := func() int {
			return d.Post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", "x"}, testserver.Origin(ofPreview)).Status
		}
		if got := refresh(); got != 403 {
			t.Fatalf("before: %d", got)
		}
		web := testserver.Web()
		web.Origins = append(web.Origins, ofPreview)
		d.Apply(testserver.Tenant("default", d.Issuer, web, testserver.Backend()))
		if got := refresh(); got != 400 {
			t.Errorf("listed: %d", got)
		}
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend()))
		if got := refresh(); got != 403 {
			t.Errorf("no longer listed: %d", got)
		}
	})
}

func TestTheLogIncludesTheTraceID(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	logged := func(headers ...string) string {
		d.Log.Take()
		d.Get("/healthz", func(r *http.Request) { r.Header["Traceparent"] = headers })
		return d.Log.Take()
	}
	for _, header := range []string{"00-" + trace + "-" + span + "-01", "cc-" + trace + "-" + span + "-01-what-the-future-will-be-like"} {
		if log := logged(header); !strings.Contains(log, `"trace_id":"`+trace+`"`) || !strings.Contains(log, `"parent_span_id":"`+span+`"`) {
			t.Errorf("%s: %s", header, log)
		}
	}
	valid := "00-" + trace + "-" + span + "-01"
	for name, headers := range map[string][]string{
		"none": nil, "two": {valid, valid}, "upper case": {strings.ToUpper(valid)}, "an unknown version": {"ff" + valid[2:]}, "a long version 00": {valid + "-01"},
		"a trace of zeros": {"00-" + strings.Repeat("0", 32) + "-" + span + "-01"}, "a span of zeros": {"00-" + trace + "-0000000000000000-01"},
	} {
		if log := logged(headers...); strings.Contains(log, "trace_id") {
			t.Errorf("%s is logged: %s", name, log)
		}
	}
}
