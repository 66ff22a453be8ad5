package testfeed

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

func TestTheStatusListsOfTheDraftDecode(t *testing.T) {
	for _, c := range []struct {
		bits int
		lst  string
		want []int
	}{
		{1, "eNrbuRgAAhcBXQ", []int{1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1}},
		{2, "eNo76fITAAPfAgc", []int{1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3}},
	} {
		list := unpacked(t, c.lst)
		got := make([]int, len(list)*8/c.bits)
		for i := range got {
			got[i] = entry(list, c.bits, i)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s holds %v, want %v", c.lst, got, c.want)
		}
	}
}

func TestAStatusListIsASignedTokenOfItsTenant(t *testing.T) {
	eachListed(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.WebOnStatusList(), testserver.Backend()))
		for _, base := range []string{"", "/t/acme"} {
			a := d.Want(200, "", d.Exchange(base, "web", d.Issuer.Token(d.URL+base, "alice", nil)))
			d.Want(200, "", d.Post(base+"/revoke", []string{"client_id", "web", "token", a.Text("refresh_token")}))
			d.Clock.Advance(90 * time.Second)
			uri, index := statusClaim(t, a)
			if uri != d.URL+base+"/status/0" || index < 0 || index >= 1<<20 {
				t.Errorf("the token's status is %d of %s", index, uri)
			}
			got := d.Want(200, "", d.Get(base+"/status/0"))
			if header := testserver.JWTHeader(t, string(got.Body)); !maps.Equal(header, map[string]any{"typ": "statuslist+jwt", "alg": "ES256", "kid": d.PublishedKeys(base)[0]["kid"]}) {
				t.Errorf("header %v", header)
			}
			at := *d
			at.Server = &testserver.Server{}
			*at.Server = *d.Server
			at.URL += base // where its keys are
			list := listAt(&at, "/status/0")
			now := d.Clock.Now().Unix()
			if list.Issuer != d.URL+base || list.Subject != uri || list.IssuedAt != now || list.Expiry != now+300 || list.TTL != 60 || list.List.Bits != 1 {
				t.Errorf("the list is %+v", list)
			}
			entries := unpacked(t, list.List.List)
			if len(entries) != 1<<17 || entry(entries, 1, index) != 1 {
				t.Errorf("in %d bytes the entry of the session is %d", len(entries), entry(entries, 1, index))
			}
			if entries[index/8] = 0; !bytes.Equal(entries, make([]byte, len(entries))) {
				t.Error("the entry of nobody is not 0")
			}
		}
	})
}

func TestAStatusListMayBeCachedForItsTTL(t *testing.T) {
	eachListed(t, func(t *testing.T, d *testserver.Deployment) {
		ended := d.SignIn("alice")
		signOut(d, ended)
		want := map[string]string{
			"Content-Type": "application/statuslist+jwt", "Cache-Control": "public, max-age=60, s-maxage=1", "Access-Control-Allow-Origin": "*",
			"Vary": "Accept-Encoding", "Content-Encoding": "",
		}
		holds := func(what string, a *testserver.Answer) {
			t.Helper()
			for name, value := range want {
				if got := a.Header.Get(name); got != value {
					t.Errorf("%s: %s: %q, want %q", what, name, got, value)
				}
			}
		}
		plain := d.Want(200, "", d.Get("/status/0", testserver.Header("Accept-Encoding", "identity")))
		holds("plain", plain)
		for _, no := range []string{"", "gzip;q=0", "br", "*;q=0", "gzip;q=0, *"} {
			if a := d.Get("/status/0", testserver.Header("Accept-Encoding", no)); !bytes.Equal(a.Body, plain.Body) {
				t.Errorf("Accept-Encoding %q gets %q", no, a.Header.Get("Content-Encoding"))
			}
		}
		unchanged := d.Get("/status/0", testserver.Header("Accept-Encoding", "identity"), testserver.Header("If-None-Match", plain.Header.Get("ETag")))
		if unchanged.Status != 304 || len(unchanged.Body) != 0 {
			t.Errorf("with its validator it returned status %d", unchanged.Status)
		}
		delete(want, "Content-Type")
		holds("unchanged", unchanged)
		want["Content-Type"] = "application/statuslist+jwt"
		d.Want(200, "", d.Get("/status/0", testserver.Header("Accept", ""))) // as if the header were absent
		if a := d.Do(http.MethodHead, "/status/0", nil, testserver.Header("Accept-Encoding", "identity")); a.Status != 200 || len(a.Body) != 0 || a.Header.Get("ETag") != plain.Header.Get("ETag") {
			t.Errorf("HEAD returned status %d %v", a.Status, a.Header)
		}

		want["Content-Encoding"] = "gzip"
		for _, yes := range []string{"gzip", "br, gzip;q=0.1", "*"} {
			a := d.Want(200, "", d.Get("/status/0", testserver.Header("Accept-Encoding", yes)))
			holds(yes, a)
			r, err := gzip.NewReader(bytes.NewReader(a.Body))
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(r); err != nil || !bytes.Equal(text, plain.Body) || len(a.Body) >= len(text) {
				t.Errorf("%s: %d bytes of %d, %v", yes, len(a.Body), len(text), err)
			}
			if a.Header.Get("ETag") == plain.Header.Get("ETag") {
				t.Error("two representations have one validator")
			}
		}
	})
}

func TestStatusListRejects(t *testing.T) {
	eachListed(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.WebOnStatusList()))
		d.SignIn("alice")
		for name, c := range map[string]struct {
			path   string
			accept string
			status int
		}{
			"any type":                     {"/status/0", "*/*", 200},
			"its type":                     {"/status/0", "application/statuslist+jwt", 200},
			"its type among others":        {"/status/0", "text/html, application/statuslist+jwt;q=0.1", 200},
			"its kind of type":             {"/status/0", "application/*", 200},
			"nothing in particular":        {"/status/0", "", 200},
			"another type":                 {"/status/0", "application/json", 406},
			"the other form of a list":     {"/status/0", "application/statuslist+cwt", 406},
			"every type but its own":       {"/status/0", "*/*, application/statuslist+jwt;q=0", 406},
			"every type but its kind":      {"/status/0", "*/*, application/*;q=0", 406},
			"a list of the past":           {"/status/0?time=1790000000", "", 501},
			"a list of the past, by name":  {"/status/0?time", "", 501},
			"another parameter":            {"/status/0?a=b", "", 200},
			"a list that there is not":     {"/status/1", "", 404},
			"another spelling":             {"/status/00", "", 404},
			"a sign":                       {"/status/+0", "", 404},
			"less than nothing":            {"/status/-1", "", 404},
			"a number with a suffix":       {"/status/99999999999999999999", "", 404},
			"beyond the last entry":        {"/status/9223372036854775807", "", 404},
			"no number":                    {"/status/x", "", 404},
			"no list":                      {"/status/", "", 404},
			"something below":              {"/status/0/x", "", 404},
			"a tenant without a session":   {"/t/acme/status/0", "", 404},
			"a tenant that there is not":   {"/t/none/status/0", "", 404},
			"the default tenant by a path": {"/t/default/status/0", "", 404},
		} {
			a := d.Get(c.path, func(r *http.Request) {
				if c.accept != "" {
					r.Header.Set("Accept", c.accept)
				}
			})
			if a.Status != c.status || (a.Status == 200) == (a.Error() != "") {
				t.Errorf("%s: %d %s", name, a.Status, a.Body)
			}
			if strings.Count(c.path, "/") == 2 && c.path != "/status/" && a.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s: no script can read the answer: %v", name, a.Header)
			}
		}
		if strings.Contains(d.Log.String(), `"ERROR"`) {
			t.Error("anybody can raise an alarm")
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			if a := d.Want(405, "invalid_request", d.Do(method, "/status/0", nil)); a.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s: allowed is %q", method, a.Header.Get("Allow"))
			}
		}
	})
}

// Whatever ends a session, the next list marks its entry, and no other.
func TestAnEndedSessionIsInTheNextStatusList(t *testing.T) {
	apply := func(change func(*settings.TenantSpec)) func(d *testserver.Deployment, a *testserver.Answer) {
		return func(d *testserver.Deployment, _ *testserver.Answer) {
			tenant := testserver.Tenant("default", d.Issuer, testserver.WebOnStatusList(), backendOnStatusList())
			change(&tenant)
			d.Apply(tenant)
		}
	}
	for name, c := range map[string]struct {
		end  func(d *testserver.Deployment, a *testserver.Answer)
		both bool // the session of bob at another client ends too
	}{
		"a sign-out": {end: signOut},
		"a used refresh token": {end: func(d *testserver.Deployment, a *testserver.Answer) {
			used := a.Text("refresh_token")
			d.Want(200, "", d.Refresh("", "web", d.Want(200, "", d.Refresh("", "web", used)).Text("refresh_token")))
			d.Clock.Advance(time.Minute)
			d.Want(400, "invalid_grant", d.Refresh("", "web", used))
		}},
		"a sign-in beyond the cap": {end: func(d *testserver.Deployment, _ *testserver.Answer) {
			web := testserver.WebOnStatusList()
			web.MaxSessionsPerUser = &settings.SessionCap{Limit: 1}
			d.Apply(testserver.Tenant("default", d.Issuer, web, backendOnStatusList()))
			d.SignIn("alice")
		}},
		"an inactivity timeout": {end: func(d *testserver.Deployment, _ *testserver.Answer) {
			web := testserver.WebOnStatusList()
			web.InactivityTimeout = testserver.Duration(time.Hour)
			d.Apply(testserver.Tenant("default", d.Issuer, web, backendOnStatusList()))
			d.Clock.Advance(5 * 24 * time.Hour)
			d.Want(200, "", d.ExchangeSession(d.SignInAtBackend("bob").Text("session_token")))
			if _, err := d.Store.Prune(d.T.Context(), d.Clock.Now()); err != nil {
				d.T.Fatal(err)
			}
		}, both: true},
		"a user who is disabled":    {end: apply(func(t *settings.TenantSpec) { t.Users = []settings.UserSpec{{Sub: "alice", Disabled: true}} })},
		"a client that is disabled": {end: apply(func(t *settings.TenantSpec) { t.Clients[0].Disabled = true })},
		"a client that was disabled": {end: func(d *testserver.Deployment, a *testserver.Answer) {
			apply(func(t *settings.TenantSpec) { t.Clients[0].Disabled = true })(d, a)
			apply(func(*settings.TenantSpec) {})(d, a)
		}},
		"a client that is disabled, and swept": {end: func(d *testserver.Deployment, a *testserver.Answer) {
			apply(func(t *settings.TenantSpec) { t.Clients[0].Disabled = true })(d, a)
			d.Sweep()
		}},
		"a client that is removed": {end: func(d *testserver.Deployment, _ *testserver.Answer) {
			d.Prune(testserver.Tenant("default", d.Issuer, backendOnStatusList()))
		}},
		"a client that is removed, and swept": {end: func(d *testserver.Deployment, _ *testserver.Answer) {
			d.Prune(testserver.Tenant("default", d.Issuer, backendOnStatusList()))
			d.Sweep()
		}},
		"an issuer that is disabled": {end: apply(func(t *settings.TenantSpec) { t.TrustedIssuers[0].Disabled = true }), both: true},
		"a tenant that is disabled":  {end: apply(func(t *settings.TenantSpec) { t.Disabled = true }), both: true},
	} {
		t.Run(name, func(t *testing.T) {
			eachListed(t, func(t *testing.T, d *testserver.Deployment) {
				a, bystander := d.SignIn("alice"), d.SignInAtBackend("bob")
				d.Clock.Advance(time.Second) // `created_at` must come before a mark
				if status(d, a) != 0 || status(d, bystander) != 0 {
					t.Fatal("a session is invalid from the beginning")
				}
				c.end(d, a)
				d.Clock.Advance(time.Second)
				if status(d, a) != 1 {
					t.Error("the session is still valid")
				}
				if both := status(d, bystander) == 1; both != c.both {
					t.Errorf("another session is invalid: %v", both)
				}
			})
		})
	}
}

func TestASessionKeepsItsStatusEntry(t *testing.T) {
	eachListed(t, func(t *testing.T, d *testserver.Deployment) {
		first, back := d.SignInBy("alice", "pwd"), d.SignInAtBackend("alice")
		refreshed := d.Want(200, "", d.Refresh("", "web", first.Text("refresh_token")))
		raised := d.Want(200, "", d.StepUp(refreshed.Text("refresh_token"), d.Proof("alice", "otp")))
		for what, pair := range map[string][2]*testserver.Answer{
			"refresh": {first, refreshed}, "step-up": {first, raised}, "swap": {back, d.Want(200, "", d.ExchangeSession(back.Text("session_token")))},
		} {
			uri, index := statusClaim(t, pair[0])
			if u, i := statusClaim(t, pair[1]); u != uri || i != index {
				t.Errorf("after a %s the status is %d of %s, was %d of %s", what, i, u, index, uri)
			}
		}
		_, one := statusClaim(t, first)
		if _, other := statusClaim(t, back); one == other {
			t.Error("two sessions share an entry")
		}
		uri, index := statusClaim(t, raised)
		list, _ := d.Want(200, "", d.Introspect("", raised.Text("access_token"))).JSON["status"].(map[string]any)
		if entry, _ := list["status_list"].(map[string]any); entry["uri"] != uri || entry["idx"] != float64(index) {
			t.Errorf("introspection returns %v", list)
		}
	})
}

func TestOnlySessionsOfClientsWithStatusListsAreListed(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		without := d.SignIn("alice")
		d.Want(404, "not_found", d.Get("/status/0"))
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.WebOnStatusList(), backendOnStatusList()))
		on := d.SignIn("alice")
		statusClaim(t, on)
		without = d.Want(200, "", d.Refresh("", "web", without.Text("refresh_token")))
		machine := &testserver.Answer{JSON: map[string]any{"access_token": d.MachineToken()}}
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend()))
		off := d.Want(200, "", d.Refresh("", "web", on.Text("refresh_token")))
		for what, a := range map[string]*testserver.Answer{
			"a session from before it was switched on": without, "a machine": machine,
			"a session after it was switched off": off, "a new session after it was switched off": d.SignIn("alice"),
		} {
			if status := testserver.Claims(t, a)["status"]; status != nil {
				t.Errorf("the token of %s has the status %v", what, status)
			}
		}
		signOut(d, off)
		d.Clock.Advance(time.Second)
		if status(d, on) != 1 {
			t.Error("a token from before it was switched off is valid after its session's end")
		}
	})
}

func TestAStatusListFollowsTheRevocationsOfEveryNode(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.Postgres(t), Run: true}, testserver.WebOnStatusList(), testserver.Backend())
	other := otherFollower(d, d.DatabaseURL)
	a, b := d.SignIn("alice"), d.SignIn("bob")
	if status(other, a) != 0 || status(d, b) != 0 {
		t.Fatal("a session is invalid from the beginning")
	}
	list := d.Want(200, "", d.Get("/status/0"))
	pass(d, 50*time.Second)
	if again := d.Want(200, "", d.Get("/status/0")); !bytes.Equal(again.Body, list.Body) {
		t.Error("a list was built without a change")
	}
	for n, end := range []struct {
		at, seen *testserver.Deployment
		a        *testserver.Answer
	}{{d, other, a}, {other, d, b}} {
		signOut(end.at, end.a)
		untilRevoked(end.seen, n+1)
		if status(end.seen, end.a) != 1 {
			t.Error("what was revoked at another node is still valid")
		}
		if again := end.seen.Get("/status/0"); again.Header.Get("ETag") != end.seen.Get("/status/0").Header.Get("ETag") {
			t.Error("a list was built without a change")
		}
		pass(d, time.Second)
	}
	list = d.Want(200, "", d.Get("/status/0"))
	pass(d, time.Minute)
	if again := d.Want(200, "", d.Get("/status/0")); bytes.Equal(again.Body, list.Body) {
		t.Error("no list was built for a minute")
	}
}

// During an outage a list is served until it expires.
func TestAStatusListOutlivesAnOutageUntilItExpires(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: proxy.URL()}, testserver.WebOnStatusList())
	a := d.SignIn("alice")
	list := d.Want(200, "", d.Get("/status/0"))
	proxy.Cut()
	for age, maxAge := range map[time.Duration]string{0: "60", 270 * time.Second: "30", 299 * time.Second: "1"} {
		d.Clock.Advance(age)
		again := d.Want(200, "", d.Get("/status/0"))
		if !bytes.Equal(again.Body, list.Body) || again.Header.Get("Cache-Control") != "public, max-age="+maxAge+", s-maxage=1" {
			t.Errorf("%s after it was built: %v", age, again.Header)
		}
		d.Clock.Advance(-age)
	}
	d.Clock.Advance(5 * time.Minute)
	if a := d.Want(503, "temporarily_unavailable", d.Get("/status/0")); a.Header.Get("Retry-After") == "" || a.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%v", a.Header)
	}
	proxy.Heal()
	if status(d, a) != 0 {
		t.Error("after the outage the session is invalid")
	}
}

func TestAStatusListIsNotSignedByARetiredKey(t *testing.T) {
	eachListed(t, func(t *testing.T, d *testserver.Deployment) {
		d.SignIn("alice")
		before := testserver.JWTHeader(t, string(d.Want(200, "", d.Get("/status/0")).Body))["kid"].(string)
		if _, err := d.OAuth.RetireSigningKey(t.Context(), "default", before, models.ServerActor); err != nil {
			t.Fatal(err)
		}
		if err := d.OAuth.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := testserver.JWTHeader(t, string(d.Want(200, "", d.Get("/status/0")).Body))["kid"]; after == before {
			t.Error("it is still signed by the retired key")
		}
	})
}

func TestAnEndedStatusListIsServedUntilItsLastSessionIsPruned(t *testing.T) {
	eachListed(t, func(t *testing.T, d *testserver.Deployment) {
		keepHouse := func() {
			t.Helper()
			for more := true; more; {
				var err error
				if more, err = d.Store.Prune(t.Context(), d.Clock.Now()); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Store.EndStatusLists(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		a := d.SignIn("alice")
		signOut(d, a)
		d.Clock.Advance(24*time.Hour + 90*time.Second)
		keepHouse()
		if status(d, a) != 1 {
			t.Error("the session is forgotten before the last token of it")
		}
		d.Clock.Advance(8 * time.Minute)
		keepHouse()
		if status(d, a) != 0 {
			t.Error("a copy of the list might outlive the session's entry")
		}
		d.Clock.Advance(time.Minute)
		keepHouse()
		d.Want(404, "not_found", d.Get("/status/0"))
		if uri, _ := statusClaim(t, d.SignIn("alice")); uri != d.URL+"/status/1" {
			t.Errorf("the next session is on the list %s", uri)
		}
	})
}

func TestAStatusListIsNotAcceptedAsAToken(t *testing.T) {
	eachListed(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInAtBackend("alice")
		list := string(d.Want(200, "", d.Get("/status/0")).Body)
		if in := d.Want(200, "", d.Introspect("", list)); string(in.Body) != `{"active":false}` {
			t.Errorf("introspected: %s", in.Body)
		}
		d.Want(400, "unsupported_token_type", d.Post("/revoke", []string{"token", list}, testserver.AsBackend()))
		d.Want(400, "invalid_request", d.Exchange("", "web", list))
		d.Want(401, "invalid_token", d.Get("/session", testserver.Authorization("Bearer "+list)))
		if !d.Active(a.Text("access_token")) {
			t.Error("the session is over")
		}
	})
}

// A node reads a list at most once a second, regardless of readers and revocations.
func TestAStatusListIsBuiltOnceForConcurrentReaders(t *testing.T) {
	trace := &testserver.StatementLog{}
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.Postgres(t), Tracer: trace}, testserver.WebOnStatusList())
	a := d.SignIn("alice")
	askTogether := func() (built int) {
		for _, statement := range trace.During(func() {
			var asking sync.WaitGroup
			for range 32 {
				asking.Go(func() {
					if a := d.Get("/status/0"); a.Status != 200 {
						t.Errorf("%d %s", a.Status, a.Body)
					}
				})
			}
			asking.Wait()
		}) {
			if strings.Contains(statement, "select size from status_lists") {
				built++
			}
		}
		return built
	}
	first := askTogether()
	signOut(d, a)
	d.Clock.Advance(999 * time.Millisecond)
	again := askTogether()
	d.Clock.Advance(time.Millisecond)
	if later := askTogether(); first != 1 || again != 0 || later != 1 {
		t.Errorf("for 32 callers it is built %d times, within the second %d times, later %d times", first, again, later)
	}
}
