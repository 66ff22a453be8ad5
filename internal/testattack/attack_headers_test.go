package testattack

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

func TestForgedHostsChangeNothing(t *testing.T) {
	host := func(name string) testserver.Option { return func(r *http.Request) { r.Host = name } }
	for trusted, proxies := range map[string][]string{"from anywhere": nil, "from a trusted proxy": {"127.0.0.1/32"}} {
		t.Run(trusted, func(t *testing.T) {
			d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.SQLite(t), Proxies: proxies})
			d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web(), testserver.Backend()))
			documents := []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json",
				"/t/acme/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/t/acme", "/t/acme/.well-known/jwks.json"}
			plain := map[string]string{}
			for _, path := range documents {
				plain[path] = withoutVariableParts(d.Want(200, "", d.Get(path)))
			}
			asBackend := testserver.Basic("backend", testserver.ClientSecret)
			challenge := d.Post("/introspect", nil).Header.Get("WWW-Authenticate")
			for name, opts := range map[string][]testserver.Option{
				"Host":                   {host("evil.example")},
				"Host with a port":       {host("evil.example:443")},
				"Host with a path":       {host("evil.example/t/acme")},
				"X-Forwarded-Host":       {testserver.Header("X-Forwarded-Host", "evil.example"), testserver.Header("X-Forwarded-Port", "444"), testserver.Header("X-Forwarded-Server", "evil.example")},
				"X-Forwarded-Proto":      {testserver.Header("X-Forwarded-Proto", "gopher"), testserver.Header("X-Forwarded-Scheme", "gopher"), testserver.Header("X-Forwarded-Ssl", "on")},
				"X-Forwarded-Prefix":     {testserver.Header("X-Forwarded-Prefix", "/evil"), testserver.Header("X-Script-Name", "/evil"), testserver.Header("X-Forwarded-Path", "/evil")},
				"Forwarded":              {testserver.Header("Forwarded", `for=203.0.113.7;host="evil.example";proto=gopher`)},
				"X-Original-URL":         {testserver.Header("X-Original-URL", "/t/acme/token"), testserver.Header("X-Rewrite-URL", "/t/acme/token"), testserver.Header("X-Original-Host", "evil.example")},
				"X-HTTP-Method-Override": {testserver.Header("X-HTTP-Method-Override", "DELETE"), testserver.Header("X-Method-Override", "DELETE")},
			} {
				for _, path := range documents {
					if got := withoutVariableParts(d.Get(path, opts...)); got != plain[path] {
						t.Errorf("%s changes %s: %s, otherwise %s", name, path, got, plain[path])
					}
				}
				if got := d.Post("/introspect", nil, opts...).Header.Get("WWW-Authenticate"); got != challenge {
					t.Errorf("%s changes the challenge: %s", name, got)
				}
				a := d.Want(200, "", d.Post("/token", d.BackendExchangeForm("alice"), append(opts, asBackend)...))
				if got := testserver.Claims(t, a)["iss"]; got != d.URL {
					t.Errorf("%s changes iss: %v", name, got)
				}
				before := d.Written()
				for _, aud := range []string{"http://evil.example", "https://evil.example", "gopher://evil.example", d.URL + "/t/acme", d.URL + "/evil"} {
					form := []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "subject_token", d.Issuer.Token(aud, "alice", nil)}
					d.Want(400, "invalid_request", d.Post("/token", form, append(opts, asBackend)...))
				}
				d.WantUnchanged(t, before)
			}
		})
	}
}

func TestAnAbsoluteRequestTargetChangesNothing(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	want := d.Get("/.well-known/openid-configuration").Body
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET https://evil.example/.well-known/openid-configuration HTTP/1.1\r\nHost: evil.example\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(body) != string(want) {
		t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}
}

func TestAForgedAddressIsNotRecorded(t *testing.T) {
	for name, c := range map[string]struct {
		proxies []string
		want    string
	}{
		"from anywhere":        {nil, "127.0.0.1"},
		"from a trusted proxy": {[]string{"127.0.0.1/32"}, "198.51.100.7"}, // the last hop that is not a trusted proxy
	} {
		t.Run(name, func(t *testing.T) {
			d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.SQLite(t), Proxies: c.proxies})
			form := []string{"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT, "subject_token", d.Issuer.Token(d.URL, "alice", nil)}
			a := d.Want(200, "", d.Post("/token", form, testserver.Header("X-Forwarded-For", "203.0.113.66, 198.51.100.7"),
				testserver.Header("X-Real-IP", "203.0.113.67"), testserver.Header("Forwarded", "for=203.0.113.68"), testserver.Header("CF-Connecting-IP", "203.0.113.69")))
			if got := d.SessionRow("default", a.Text("session_id")).IP; got != c.want {
				t.Errorf("the session is from %s, want %s", got, c.want)
			}
			if stored := d.Stored("events"); strings.Contains(stored, "203.0.113.6") {
				t.Errorf("%s", stored)
			}
		})
	}
}

func TestNoResponseRedirectsASecret(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web(), testserver.Backend()))
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"backend"}, "client_secret": {testserver.ClientSecret}, "redirect_uri": {"https://evil.example"}}.Encode()
	for _, path := range []string{
		"/token", "/token/", "//token", "/TOKEN", "/token//", "/./token", "/x/../token", "/token%2f", "/%74oken", "/revoke/", "/introspect/", "/t/acme/token", "/t/acme/token/",
		"/t/acme", "/t/acme/", "/t//token", "/t", "", "/", "/.well-known/", "/.well-known/openid-configuration", "//evil.example/token", "/\\evil.example/token",
	} {
		for _, method := range []string{"POST", "GET", "PUT", "HEAD", "OPTIONS", "DELETE", "TRACE", "PROPFIND"} {
			a := d.Do(method, path, strings.NewReader(form), testserver.ContentType(testserver.FormType))
			if a.Status == 0 || a.Status >= 300 && a.Status < 400 || a.Status >= 500 || a.Header.Get("Location") != "" || a.Header.Get("Refresh") != "" {
				t.Errorf("%s %s: %d %v", method, path, a.Status, a.Header)
			}
			if strings.Contains(string(a.Body)+fmt.Sprint(a.Header), testserver.ClientSecret) {
				t.Errorf("%s %s repeats the secret: %s", method, path, a.Body)
			}
		}
	}
	before := d.Written()
	for _, query := range []string{"client_secret=" + testserver.ClientSecret, "client_id=backend", "refresh_token=x", "subject_token=x", "token=x", "client_assertion=x", "client%5fsecret=x", "client_secret"} {
		for _, path := range []string{"/token", "/revoke", "/introspect"} {
			a := d.Want(400, "invalid_request", d.Do("POST", path+"?"+query, strings.NewReader(form+"&token=x"), testserver.ContentType(testserver.FormType)))
			if strings.Contains(string(a.Body), testserver.ClientSecret) {
				t.Errorf("%s", a.Body)
			}
		}
	}
	d.WantUnchanged(t, before)
}

func TestTheLogOfASessionContainsNoSecret(t *testing.T) {
	const shared, wrong, previous = "the-shared-secret-of-an-issuer-of-client-tokens", "a-wrong-secret-of-some-length", "the-previous-secret-of-the-client-backend"
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		backend := testserver.Backend()
		backend.PreviousSecret = previous
		web := testserver.Web()
		web.Claims = map[string]string{"n": "int(user.nonce)"} // evaluation fails, so the claim is omitted
		tenant := testserver.Tenant("default", d.Issuer, web, backend)
		tenant.TrustedIssuers[0].UserAttributes = map[string]string{"nonce": "token.?nonce"}
		tenant.TrustedIssuers = append(tenant.TrustedIssuers, settings.IssuerSpec{IssuerSettings: settings.IssuerSettings{
			Issuer: "https://shared.example.com", TokenType: settings.TokenTypeJWT, SubjectPrefix: "s:", Keys: settings.IssuerKeys{SharedSecret: shared},
		}}, entryWithKeys("https://127.0.0.1:1", settings.IssuerKeys{Discovery: true}, false))
		d.Apply(tenant)
		secrets := map[string]string{
			"the root secret": testserver.RootSecret, "the client's secret": testserver.ClientSecret, "its previous secret": previous, "a wrong secret": wrong, "the shared secret": shared,
		}
		keep := func(name string, a *testserver.Answer) *testserver.Answer {
			t.Helper()
			for _, kind := range []string{"access_token", "refresh_token", "session_token"} {
				if a.Text(kind) != "" {
					secrets[name+": "+kind] = a.Text(kind)
				}
			}
			return a
		}
		subject := func(name, token string) string {
			secrets["the client token "+name] = token
			return token
		}
		exchange := func(token string, opts ...testserver.Option) *testserver.Answer {
			return d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "subject_token", token}, opts...)
		}
		asBackend, asPrevious, asWrong := testserver.Basic("backend", testserver.ClientSecret), testserver.Basic("backend", previous), testserver.Basic("backend", wrong)

		first := keep("exchange", d.Want(200, "", d.Exchange("", "web", subject("good", d.Issuer.Token(d.URL, "alice", map[string]any{"nonce": "no number"})))))
		d.Want(400, "invalid_request", d.Exchange("", "web", secrets["the client token good"]))
		mine := keep("exchange of the back end", d.Want(200, "", exchange(subject("of the back end", d.Issuer.Token(d.URL, "bob", nil)), asBackend)))
		keep("client credentials", d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, asPrevious)))
		second := keep("refresh", d.Want(200, "", d.Refresh("", "web", first.Text("refresh_token"))))
		keep("retry", d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", first.Text("refresh_token")}, testserver.Header("User-Agent", "another"))))
		shared256 := testserver.Forge(`{"alg":"HS256"}`, `{"iss":"https://shared.example.com","aud":"`+d.URL+`","sub":"carol","jti":"c","iat":`+d.JSONTime(0)+`,"exp":`+d.JSONTime(60)+`}`, testserver.HS256([]byte(shared)))
		keep("exchange by a shared secret", d.Want(200, "", d.Exchange("", "web", subject("by a shared secret", shared256))))
		for name, token := range map[string]string{
			"expired": d.Issuer.Token(d.URL, "alice", map[string]any{"exp": 1}), "of no client": d.Issuer.Token(d.URL, "alice", map[string]any{"iss": "https://nobody.example"}),
			"whose keys are inside": d.Issuer.Token(d.URL, "alice", map[string]any{"iss": "https://127.0.0.1:1"}), "with a bad claim": d.Issuer.Token(d.URL, "alice", map[string]any{"nonce": "a\x00b"}),
			"that is forged": testserver.Forge(`{"alg":"ES256","kid":"test-key"}`, `{"iss":"`+d.Issuer.URL+`"}`, testserver.ES256(testserver.NewES256Key(t))), "that is too long": d.Issuer.Token(d.URL, "alice", map[string]any{"a": strings.Repeat("a", 20<<10)}),
			"that is not JSON": testserver.Forge(`{"alg":"ES256"}`, `{"sub":"alice","secret":tru`, testserver.ES256(testserver.NewES256Key(t))),
		} {
			if a := d.Exchange("", "web", subject(name, token)); a.Status == 200 {
				t.Errorf("%s: %s", name, a.Body)
			}
		}
		a, access := first.Text("refresh_token"), second.Text("access_token")
		for _, path := range []string{"/token", "/revoke", "/introspect"} {
			d.Post(path+"?refresh_token="+a+"&client_secret="+testserver.ClientSecret, nil)
			d.Post(path+"/"+access, nil, testserver.Authorization("Bearer "+access))
			d.Get(path+"/"+a+"?access_token="+access, testserver.Header("Cookie", "token="+a), testserver.Header("Referer", "https://app.example.com/#"+access))
			d.Post(path, []string{"token", access, "refresh_token", a}, asWrong, testserver.Header("User-Agent", "agent"), testserver.Header("Origin", "https://evil.example"))
			d.Post(path, []string{"token", access, "token", a}, asBackend)
			d.Post(path, []string{"token", access + strings.Repeat("a", 20<<10)}, asBackend)
			d.Post(path, []string{"token", access, "x", strings.Repeat("a", 70<<10)}, asBackend)
			d.Post(path, []string{"client_id", "backend", "client_secret", wrong, "grant_type", a, "token_type_hint", access})
			d.Post(path, []string{"client_id", a, "client_secret", testserver.ClientSecret, "token", access})
			d.Do("POST", path, strings.NewReader(`{"refresh_token":"`+a+`"}`), testserver.ContentType("application/json"))
			d.Do("POST", path, strings.NewReader("refresh_token="+a+"%ZZ"), testserver.ContentType(testserver.FormType))
			d.Do("POST", path, strings.NewReader("refresh_token="+a), testserver.ContentType("text/"+a))
			d.Do("POST", path, strings.NewReader("token="+access), testserver.ContentType(testserver.FormType), testserver.BasicText(testserver.ClientSecret), testserver.Accept(a))
		}
		d.Refresh("", "web", a, "scope", access, "audience", a)
		d.Introspect("", access)
		d.Introspect("", mine.Text("refresh_token"))
		d.Introspect("", mine.Text("session_token"))
		d.Post("/introspect", []string{"token", access}, asBackend, testserver.Accept(testserver.IntrospectionJWT))
		d.Clock.Advance(time.Minute)
		d.Want(200, "", d.Refresh("", "web", a)) // a late retry
		third := keep("the next refresh", d.Want(200, "", d.Refresh("", "web", second.Text("refresh_token"))))
		d.Clock.Advance(time.Minute)
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", a)) // a replay
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", third.Text("refresh_token")))
		d.Want(200, "", d.Post("/revoke", []string{"token", mine.Text("session_token")}, asBackend))
		d.Tamper("UPDATE trusted_issuers SET root_version = 1")
		d.Want(500, "server_error", d.Exchange("", "web", subject("of an issuer that does not open", testserver.Forge(`{"alg":"HS256"}`, `{"iss":"https://shared.example.com","aud":"`+d.URL+`"}`, testserver.HS256([]byte(shared))))))

		if u, err := url.Parse(d.DatabaseURL); err == nil {
			if password, has := u.User.Password(); has {
				secrets["the database's password"] = password
			}
		}
		log := d.Log.String()
		for name, secret := range secrets {
			for _, form := range encodings(secret) {
				if strings.Contains(log, form) {
					t.Errorf("the log holds %s", name)
					break
				}
			}
		}
		if n := strings.Count(log, `"msg":"request"`); n < 40 || !strings.Contains(log, first.Text("session_id")) || !strings.Contains(log, "custom claims left out") {
			t.Errorf("the log has %d requests, or is not the one of this life", n)
		}
	})
}
