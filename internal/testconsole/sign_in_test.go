package testconsole

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

func TestAnAdminKeySignsIn(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		b := d.browser(t)
		away := want(t, 303, b.get("/console/tenants?q=a"))
		if to := away.header.Get("Location"); to != "/console/sign-in?next=%2Fconsole%2Ftenants%3Fq%3Da" {
			t.Errorf("redirected to %s", to)
		}
		r := want(t, 303, b.post("/console/sign-in", "secret", " "+d.keys[models.RoleViewer]+"\n", "next", "/console/tenants?q=a"))
		if to := r.header.Get("Location"); to != "/console/tenants?q=a" {
			t.Errorf("redirected to %s", to)
		}
		c := r.cookie("latchkey-console")
		if c == nil || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 8*60*60 || c.Secure {
			t.Errorf("the cookie is %+v", c)
		}
		if strings.Contains(d.Stored("console_sessions"), c.Value) {
			t.Error("the handle itself is stored")
		}
		wantText(t, want(t, 200, b.get("/console/tenants")), "the viewer", "Sign out", "acme")
		if log := d.Log.String(); strings.Contains(log, d.keys[models.RoleViewer]) || strings.Contains(log, c.Value) {
			t.Error("a secret is in the log")
		}
		if events := d.Stored("events"); !strings.Contains(events, "console_signed_in") || !strings.Contains(events, d.rows[models.RoleViewer].ID) {
			t.Errorf("the sign-in is not recorded: %s", events)
		}
	})
}

// The Host is not a loopback name, so that the browser uses HTTPS.
func TestBehindHTTPSTheCookieHasThePrefixHost(t *testing.T) {
	d := sqlite(t)
	d.Deployment = d.Deployment.OtherNodeWith(testserverOptions)
	b := d.browser(t)
	host := func(r *http.Request) { r.Host = "admin.example.com" }
	page := b.send("GET", "/console/sign-in", nil, host)
	form := page.cookieNamed("__Host-latchkey-console-form")
	if form == nil || !form.Secure {
		t.Fatalf("the cookie of the form is %+v", form)
	}
	fields := url.Values{"form_token": {tokenField.FindStringSubmatch(page.body)[1]}, "secret": {d.keys[models.RoleOwner]}}
	cookie := header("Cookie", form.Name+"="+form.Value)
	want(t, 403, b.send("POST", "/console/sign-in", fields, host, cookie, header("Origin", "http://admin.example.com")))
	r := want(t, 303, b.send("POST", "/console/sign-in", fields, host, cookie, header("Origin", "https://admin.example.com")))
	c := r.cookieNamed("__Host-latchkey-console")
	if c == nil || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteStrictMode {
		t.Errorf("the cookie is %+v", c)
	}
}

func TestALinkSignsInOnceAfterItsPageWasConfirmed(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		code := d.link(t, d.rows[models.RoleAdmin].ID)
		b := d.browser(t)
		for range 2 { // looking at the page does not redeem it
			page := want(t, 200, b.post("/console/sign-in", "secret", code))
			wantText(t, page, "Sign in as the admin?", "admin", "all")
			if page.cookie("latchkey-console") != nil {
				t.Fatal("the link was redeemed without a confirmation")
			}
		}
		want(t, 303, b.post("/console/sign-in", "secret", code, "confirmed", "yes"))
		wantText(t, want(t, 200, b.get("/console/tenants")), "the admin")
		other := d.browser(t)
		wantText(t, want(t, 401, other.post("/console/sign-in", "secret", code, "confirmed", "yes")), "sign-in link is not valid")
		if strings.Contains(d.Stored("console_links"), code) || strings.Contains(d.Log.String(), code) {
			t.Error("the code is stored or logged")
		}
	})
}

func TestALinkIsRedeemedOnceByConcurrentBrowsers(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		code := d.link(t, d.rows[models.RoleAdmin].ID)
		var wait sync.WaitGroup
		statuses := make(chan int, 4)
		for range cap(statuses) {
			b := d.browser(t)
			form := url.Values{"form_token": {b.token("/console/sign-in")}, "secret": {code}, "confirmed": {"yes"}}
			wait.Go(func() { statuses <- b.send("POST", "/console/sign-in", form).status })
		}
		wait.Wait()
		close(statuses)
		count := map[int]int{}
		for s := range statuses {
			count[s]++
		}
		if count[303] != 1 || count[401] != cap(statuses)-1 {
			t.Errorf("statuses %v", count)
		}
	})
}

func TestALinkEndsAfterFiveMinutesAndWithItsKey(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		b := d.browser(t)
		expired := d.link(t, d.rows[models.RoleAdmin].ID)
		d.Clock.Advance(5*time.Minute + time.Second)
		want(t, 401, b.post("/console/sign-in", "secret", expired, "confirmed", "yes"))
		revoked := d.link(t, d.rows[models.RoleAdmin].ID)
		if _, err := d.Store.RevokeAdminKey(t.Context(), d.rows[models.RoleAdmin].ID, false, false, models.Actor{Name: "cli"}); err != nil {
			t.Fatal(err)
		}
		want(t, 401, b.post("/console/sign-in", "secret", revoked, "confirmed", "yes"))
		if _, err := d.Store.CreateConsoleLink(t.Context(), []byte("x"), d.rows[models.RoleAdmin].ID, models.Actor{}); err == nil {
			t.Error("a revoked key got a link")
		}
	})
}

func TestRevokingAKeyEndsItsSessionsAtOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		b := d.signedIn(t, d.keys[models.RoleAdmin])
		want(t, 200, b.get("/console/tenants"))
		if _, err := d.Store.RevokeAdminKey(t.Context(), d.rows[models.RoleAdmin].ID, false, false, models.Actor{Name: "cli"}); err != nil {
			t.Fatal(err)
		}
		want(t, 303, b.get("/console/tenants"))
	})
}

func TestASessionEndsWithItsKey(t *testing.T) {
	d := sqlite(t)
	key, _ := d.NewAdminKey(oauth.AdminKeySpec{Name: "short", Role: models.RoleViewer, ExpiresAt: d.Clock.Now().Add(10 * time.Minute)})
	b := d.signedIn(t, key)
	d.Clock.Advance(9 * time.Minute)
	want(t, 200, b.get("/console/tenants"))
	d.Clock.Advance(time.Minute)
	want(t, 303, b.get("/console/tenants"))
}

func TestASessionEndsAfterThirtyIdleMinutesAndEightHours(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		b := d.signedIn(t, d.keys[models.RoleViewer])
		d.Clock.Advance(29 * time.Minute)
		want(t, 200, b.get("/console/tenants"))
		d.Clock.Advance(29 * time.Minute) // from then on
		want(t, 200, b.get("/console/tenants"))
		d.Clock.Advance(30 * time.Minute)
		want(t, 303, b.get("/console/tenants"))

		b = d.signedIn(t, d.keys[models.RoleViewer])
		for range 19 { // 25 minutes each: until 7:55
			d.Clock.Advance(25 * time.Minute)
			want(t, 200, b.get("/console/tenants"))
		}
		d.Clock.Advance(5 * time.Minute)
		want(t, 303, b.get("/console/tenants"))

		if _, err := d.Store.Prune(t.Context(), d.Clock.Now()); err != nil {
			t.Fatal(err)
		}
		if rows := d.Stored("console_sessions", "console_links"); strings.Contains(rows, d.rows[models.RoleViewer].ID) {
			t.Errorf("after pruning there is still %s", rows)
		}
	})
}

func TestSigningOutEndsTheSession(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleViewer])
	stolen := *b
	r := want(t, 303, b.post("/console/sign-out"))
	if c := r.cookie("latchkey-console"); c == nil || c.MaxAge >= 0 {
		t.Errorf("the cookie is %+v", c)
	}
	want(t, 303, stolen.get("/console/tenants"))
	if rows := d.Stored("console_sessions"); strings.Contains(rows, d.rows[models.RoleViewer].ID) {
		t.Errorf("the row is still stored: %s", rows)
	}
}

func TestALiveSessionIsReplacedOnlyAfterSayingSo(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleViewer])
	for _, secret := range []string{d.keys[models.RoleOwner], d.link(t, d.rows[models.RoleOwner].ID)} {
		page := want(t, 200, b.post("/console/sign-in", "secret", secret, "confirmed", "yes"))
		wantText(t, page, "You are signed in as the viewer")
		if strings.Contains(page.body, d.keys[models.RoleOwner]) {
			t.Error("the page contains the admin key")
		}
		wantText(t, b.get("/console/tenants"), "the viewer")
	}
	before := b.handle()
	want(t, 303, b.post("/console/sign-in", "secret", d.keys[models.RoleOwner], "replace", d.rows[models.RoleViewer].ID))
	if after := b.handle(); after == before {
		t.Error("the session has the same handle")
	}
	if rows := d.Stored("console_sessions"); strings.Contains(rows, d.rows[models.RoleViewer].ID) {
		t.Error("the earlier session is still stored")
	}
}

// The clock does not advance, so that no attempt is forgiven.
func TestWrongKeysAndCodesAreThrottled(t *testing.T) {
	d := sqlite(t)
	for name, wrong := range map[string]string{"key": d.keys[models.RoleOwner] + "x", "code": "lk_cl_" + strings.Repeat("A", 48)} {
		b := d.browser(t)
		for range 10 {
			want(t, 401, b.post("/console/sign-in", "secret", wrong))
		}
		r := want(t, 429, b.post("/console/sign-in", "secret", wrong))
		if r.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", name)
		}
		want(t, 303, b.post("/console/sign-in", "secret", d.keys[models.RoleOwner]))
	}
}

func TestTheSignInPageRedirectsToPagesOfTheConsoleOnly(t *testing.T) {
	d := sqlite(t)
	for next, to := range map[string]string{
		"/console/t/acme/users?q=%41":   "/console/t/acme/users?q=%41",
		"https://evil.example/console/": "/console", "//evil.example/console/x": "/console", "/\\evil.example/console/": "/console", "/console/../admin": "/console",
		"/admin/v1/self": "/console", "javascript:alert(1)": "/console", "/console/\n": "/console", "": "/console",
	} {
		b := d.browser(t)
		if got := want(t, 303, b.post("/console/sign-in", "secret", d.keys[models.RoleViewer], "next", next)).header.Get("Location"); got != to {
			t.Errorf("%q leads to %q", next, got)
		}
	}
}
