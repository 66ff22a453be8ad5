package testwire

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

func TestABackEndEndsSessions(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))
		acme := d.Want(200, "", d.Exchange("/t/acme", "web", d.Issuer.Token(d.URL+"/t/acme", "alice", nil)))
		first, second, third, bob := d.SignIn("alice"), d.SignInAt("tv", "alice"), d.SignInAtBackend("alice"), d.SignIn("bob")
		d.Want(204, "", d.Delete("/sessions/"+first.Text("session_id"), testserver.AsSupport()))
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", first.Text("refresh_token")))
		if got := reasons(d, first, second, third, bob); got != "revoked_by_backend   " {
			t.Errorf("ended: %q", got)
		}
		d.Want(404, "not_found", d.Delete("/sessions/"+acme.Text("session_id"), testserver.AsSupport()))
		d.Want(404, "not_found", d.Get("/sessions/"+acme.Text("session_id"), testserver.AsSupport()))
		for sub, want := range map[string]string{"alice": "2", "nobody": "0"} {
			a := d.Want(204, "", d.Delete("/sessions?sub="+sub, testserver.AsSupport()))
			if got := a.Header.Get("Latchkey-Sessions-Ended"); got != want {
				t.Errorf("ended %s sessions of %s, want %s", got, sub, want)
			}
		}
		if got := reasons(d, first, second, third, bob); got != "revoked_by_backend revoked_by_backend revoked_by_backend " {
			t.Errorf("ended: %q", got)
		}
		for _, a := range []*testserver.Answer{second, third} {
			if d.Active(a.Text("access_token")) {
				t.Error("a session of hers is active")
			}
		}
		d.Want(200, "", d.Refresh("/t/acme", "web", acme.Text("refresh_token")))
		d.Want(200, "", d.Refresh("", "web", bob.Text("refresh_token")))
	})
}

func TestOnlyABackEndManagesSessions(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		sid := "/sessions/" + a.Text("session_id")
		before := d.Written()
		for name, c := range map[string]struct {
			opt    testserver.Option
			status int
			code   string
		}{
			"a client that may not":     {testserver.AsBackend(), 403, "unauthorized_client"},
			"a wrong secret":            {testserver.Basic("support", "wrong"), 401, "invalid_client"},
			"an unknown client":         {testserver.Basic("nobody", testserver.SupportSecret), 401, "invalid_client"},
			"a public client":           {testserver.Basic("web", ""), 401, "invalid_client"},
			"what is no Basic":          {testserver.Authorization("Basic !"), 401, "invalid_client"},
			"two secrets":               {func(r *http.Request) { testserver.AsSupport()(r); r.Header.Add("Authorization", "Basic x") }, 400, "invalid_request"},
			"credentials and a token":   {func(r *http.Request) { testserver.AsSupport()(r); r.Header.Add("Authorization", "Bearer x") }, 400, "invalid_request"},
			"a scheme in small letters": {testserver.Authorization("basic !"), 401, "invalid_client"},
			"a token without a session": {testserver.Authorization("Bearer " + d.MachineToken()), 401, ""},
		} {
			for _, request := range []string{"GET /sessions?sub=alice", "DELETE /sessions?sub=alice", "GET " + sid, "DELETE " + sid, "POST " + sid + "/extend"} {
				method, path, _ := strings.Cut(request, " ")
				answer := d.Do(method, path, strings.NewReader("expires_in=60"), c.opt, testserver.ContentType(testserver.FormType))
				want, scheme := c.code, "Basic"
				if want == "" {
					want, scheme = "invalid_token", "Bearer"
					if method == http.MethodPost {
						want, scheme = "invalid_client", "Basic" // users may not use this endpoint
					}
				}
				challenge := answer.Header.Get("WWW-Authenticate")
				if answer.Status != c.status || answer.Error() != want || (c.status == 401) != strings.HasPrefix(challenge, scheme+" realm=") {
					t.Errorf("%s with %s: %d %s %s", request, name, answer.Status, answer.Body, challenge)
				}
			}
		}
		d.WantUnchanged(t, before)
		// Only users may use their own endpoints.
		for _, request := range []string{"GET /session", "DELETE /session", "GET /userinfo"} {
			if answer := d.Request(request, testserver.AsSupport()); answer.Status != 401 || string(answer.Body) != `{"latchkey_reason":"token_missing"}` {
				t.Errorf("%s: %d %s", request, answer.Status, answer.Body)
			}
		}
		d.Want(401, "invalid_client", d.Post(sid+"/extend", []string{"expires_in", "60", "client_id", "support", "client_secret", testserver.SupportSecret}))
		d.Want(401, "invalid_client", d.Post(sid+"/extend", []string{"expires_in", "60"}, testserver.AsBearer(a)))
	})
}

func TestWrongSecretsAreThrottledAtTheSessionAPIToo(t *testing.T) {
	d := testserver.NewSessionDeployment(t, testserver.OnSQLite(t))
	for range 10 {
		d.Want(401, "invalid_client", d.Get("/sessions?sub=alice", testserver.Basic("support", "wrong")))
	}
	d.Want(429, "temporarily_unavailable", d.Get("/sessions?sub=alice", testserver.Basic("support", "wrong")))
	d.Want(200, "", d.Get("/sessions?sub=alice", testserver.AsSupport()))
}

func TestSessionRequestsAreReadStrictly(t *testing.T) {
	d := testserver.NewSessionDeployment(t, testserver.OnSQLite(t))
	a := d.SignIn("alice")
	cursor := strings.Repeat("A", 32)
	user, backEnd := testserver.AsBearer(a), testserver.AsSupport()
	before := d.Written()
	for name, c := range map[string]struct {
		as      testserver.Option
		request string
	}{
		"a limit of none":               {user, "GET /sessions?limit=0"},
		"a limit too high":              {user, "GET /sessions?limit=201"},
		"a limit far too high":          {user, "GET /sessions?limit=18446744073709551617"},
		"a negative limit":              {user, "GET /sessions?limit=-1"},
		"a signed limit":                {user, "GET /sessions?limit=%2B1"},
		"a limit of words":              {user, "GET /sessions?limit=ten"},
		"two limits":                    {user, "GET /sessions?limit=1&limit=1"},
		"a word for a cursor":           {user, "GET /sessions?cursor=next"},
		"a shorter cursor":              {user, "GET /sessions?cursor=" + cursor[1:]},
		"a longer cursor":               {user, "GET /sessions?cursor=" + cursor + "AAAA"},
		"a cursor with a newline":       {user, "GET /sessions?cursor=" + cursor[:31] + "%0A" + cursor[31:]},
		"bad percent-encoding":          {user, "GET /sessions?limit=%ZZ"},
		"a NUL":                         {backEnd, "GET /sessions?sub=%00"},
		"invalid UTF-8":                 {backEnd, "GET /sessions?sub=%ff"},
		"another user, by a user":       {user, "GET /sessions?sub=bob"},
		"oneself by name":               {user, "DELETE /sessions?sub=alice"},
		"oneself by name, with a scope": {user, "DELETE /sessions?scope=all&sub=alice"},
		"no scope":                      {user, "DELETE /sessions"},
		"an empty scope":                {user, "DELETE /sessions?scope="},
		"an unknown scope":              {user, "DELETE /sessions?scope=ALL"},
		"two scopes":                    {user, "DELETE /sessions?scope=all&scope=all"},
		"no user":                       {backEnd, "GET /sessions"},
		"an empty user":                 {backEnd, "GET /sessions?sub="},
		"two users":                     {backEnd, "DELETE /sessions?sub=alice&sub=bob"},
		"no user to sign out":           {backEnd, "DELETE /sessions"},
		"a scope, by a back end":        {backEnd, "DELETE /sessions?sub=alice&scope=all"},
		"others, by a back end":         {backEnd, "DELETE /sessions?sub=alice&scope=others"},
		"a limit too high, by it":       {backEnd, "GET /sessions?sub=alice&limit=1000"},
	} {
		answer := d.Request(c.request, c.as)
		if answer.Status != 400 || answer.Error() != "invalid_request" || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
		}
	}
	d.WantUnchanged(t, before)
	if sids, _ := listed(d, "/sessions?cursor="+cursor+"&limit=&unknown=1", user); len(sids) != 0 {
		t.Errorf("behind the end of the list: %v", sids)
	}
	for path, allow := range map[string]string{
		"/session": "GET, DELETE, OPTIONS", "/sessions": "GET, DELETE, OPTIONS", "/sessions/x": "GET, DELETE, OPTIONS", "/sessions/x/extend": "POST", "/userinfo": "GET, POST, OPTIONS",
	} {
		answer := d.Want(405, "invalid_request", d.Do(http.MethodPut, path, nil, user))
		if !equalSets(strings.Split(answer.Header.Get("Allow"), ", "), strings.Split(allow, ", ")) {
			t.Errorf("%s allows %s", path, answer.Header.Get("Allow"))
		}
	}
}

func TestABackEndExtendsASession(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		a, tv := d.SignIn("alice"), d.SignInAt("tv", "alice")
		begun := d.Clock.Now()
		extend := func(a *testserver.Answer, expiresIn string, opts ...testserver.Option) *testserver.Answer {
			return d.Post("/sessions/"+a.Text("session_id")+"/extend", []string{"expires_in", expiresIn}, append(opts, testserver.AsSupport())...)
		}
		ends := func(a *testserver.Answer) time.Duration {
			return d.SessionRow("default", a.Text("session_id")).AbsoluteExpiry.Sub(begun)
		}
		const day = 24 * time.Hour
		d.Clock.Advance(day)
		for _, c := range []struct {
			expiresIn string
			want      time.Duration // from the start
		}{
			{"3456000", 41 * day}, {"5184000", 60 * day}, {"2147483647", 60 * day}, {"5097600", 60 * day}, {"5097599", 60*day - time.Second}, {"86400", 2 * day}, {"2592000", 31 * day},
		} {
			o := d.Want(200, "", extend(a, c.expiresIn))
			if got := ends(a); got != c.want || o.JSON["expires_at"] != float64(begun.Add(c.want).Unix()) || o.Text("id") != a.Text("session_id") || o.JSON["current"] != false {
				t.Errorf("by %s: to %v, %s", c.expiresIn, got, o.Body)
			}
		}
		if reasons(d, a) != "" || len(d.EventTypes(a.Text("session_id"))) != 6 { // an unchanged end causes no event
			t.Errorf("events %v", d.EventTypes(a.Text("session_id")))
		}

		before := d.Written()
		for _, expiresIn := range []string{"", "0", "-1", "+1", "1.5", "1h", "2147483648", "99999999999999999999"} {
			d.Want(400, "invalid_request", extend(a, expiresIn))
		}
		if o := d.Want(400, "invalid_request", extend(tv, "60")); !strings.Contains(o.Text("error_description"), "max_lifetime") {
			t.Errorf("without a max_lifetime: %s", o.Body)
		}
		d.Want(404, "not_found", d.Post("/sessions/"+models.NewSessionID().String()+"/extend", []string{"expires_in", "60"}, testserver.AsSupport()))
		d.Want(404, "not_found", d.Post("/sessions/x/extend", []string{"expires_in", "60"}, testserver.AsSupport()))
		d.Want(400, "invalid_request", extend(a, "60", testserver.ContentType("application/json")))
		d.Want(400, "invalid_request", d.Post("/sessions/x/extend?client_secret=x", []string{"expires_in", "60"}, testserver.AsSupport()))
		d.WantUnchanged(t, before)

		// The changed client applies; no end is moved into the past.
		tenant := testserver.SessionTenant(d.Issuer)
		tenant.Clients[0].AbsoluteLifetime, tenant.Clients[0].MaxLifetime, tenant.Clients[0].InactivityTimeout = testserver.Duration(time.Hour), testserver.Duration(day), testserver.Duration(time.Hour)
		d.Apply(tenant)
		d.Want(400, "invalid_request", extend(a, "60"))
		d.WantUnchanged(t, before)
	})
}

func TestAnExtendedSessionLivesLonger(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		tenant := testserver.SessionTenant(d.Issuer)
		client := &tenant.Clients[0]
		client.AbsoluteLifetime, client.InactivityTimeout, client.MaxLifetime = testserver.Duration(time.Hour), testserver.Duration(-1), testserver.Duration(4*time.Hour)
		d.Apply(tenant)
		long, short, plain := d.SignIn("alice"), d.SignIn("alice"), d.SignIn("alice")
		for sid, expiresIn := range map[string]string{long.Text("session_id"): "7200", short.Text("session_id"): "1800"} {
			d.Want(200, "", d.Post("/sessions/"+sid+"/extend", []string{"expires_in", expiresIn}, testserver.AsSupport()))
		}
		prune := func() {
			t.Helper()
			if _, err := d.Store.Prune(t.Context(), d.Clock.Now()); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			wait time.Duration
			want string
		}{{30*time.Minute - time.Second, "  "}, {time.Second, " absolute "}, {30 * time.Minute, " absolute absolute"}, {time.Hour, "absolute absolute absolute"}} {
			d.Clock.Advance(c.wait)
			prune()
			if got := reasons(d, long, short, plain); got != c.want {
				t.Errorf("%v later: %q, want %q", c.wait, got, c.want)
			}
		}
		d.Want(400, "invalid_request", d.Post("/sessions/"+long.Text("session_id")+"/extend", []string{"expires_in", "60"}, testserver.AsSupport()))
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", long.Text("refresh_token")))
	})
}

// Only a use of the session extends its inactivity timeout; an extension does not.
func TestAnExtensionDoesNotCountAsActivity(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		before := d.SessionRow("default", a.Text("session_id"))
		d.Clock.Advance(time.Hour)
		d.Want(200, "", d.Post("/sessions/"+a.Text("session_id")+"/extend", []string{"expires_in", "5000000"}, testserver.AsSupport()))
		after := d.SessionRow("default", a.Text("session_id"))
		if !after.IdleExpiry.Equal(before.IdleExpiry) || !after.LastActiveAt.Equal(before.LastActiveAt) || after.AbsoluteExpiry.Equal(before.AbsoluteExpiry) {
			t.Errorf("%v %v %v", after.LastActiveAt, after.IdleExpiry, after.AbsoluteExpiry)
		}
		d.Clock.Advance(5 * 24 * time.Hour)
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", a.Text("refresh_token")))
		d.Want(400, "invalid_request", d.Post("/sessions/"+a.Text("session_id")+"/extend", []string{"expires_in", "60"}, testserver.AsSupport()))
	})
}
