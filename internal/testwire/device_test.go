package testwire

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// newDeviceDeployment is a server behind a proxy, with a claim about the device.
func newDeviceDeployment(t *testing.T, url string) *testserver.Deployment {
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: url, Proxies: []string{"127.0.0.1"}})
	storeDevice(d, true)
	return d
}

// storeDevice sets whether the tenant stores device data.
func storeDevice(d *testserver.Deployment, store bool) {
	d.T.Helper()
	web := testserver.Web()
	web.Claims = map[string]string{"device": "session.device.name + '|' + session.device.user_agent + '|' + session.device.ip"}
	tenant := testserver.Tenant("default", d.Issuer, web, testserver.Backend())
	tenant.StoreDevice = &store
	d.Apply(tenant)
}

// from sets the headers of a device and of the proxy.
func from(agent, ip string) testserver.Option {
	return func(r *http.Request) {
		r.Header.Set("User-Agent", agent)
		r.Header.Set("X-Forwarded-For", ip)
	}
}

// refreshFrom refreshes at the public client.
func refreshFrom(d *testserver.Deployment, token, agent, ip string) *testserver.Answer {
	d.T.Helper()
	return d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", token}, from(agent, ip)))
}

// useManyDevices signs in, steps up, swaps, refreshes, retries and reuses a token, each
// from another device, whose data begins with a mark.
func useManyDevices(d *testserver.Deployment, t *testing.T, sub, mark string) (sid string) {
	t.Helper()
	at := func(n int) testserver.Option { return from(fmt.Sprint(mark, "/", n), fmt.Sprint("203.0.113.", n)) }
	a := d.Want(200, "", d.Post("/token", []string{
		"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT, "subject_token", d.Proof(sub, "pwd"), "latchkey_device_name", mark,
	}, at(1)))
	b := d.Want(200, "", d.Post("/token", []string{
		"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT, "subject_token", d.Proof(sub, "otp"), "latchkey_session_token", a.Text("refresh_token"),
	}, at(2)))
	c := refreshFrom(d, b.Text("refresh_token"), mark+"/3", "203.0.113.3")
	refreshFrom(d, b.Text("refresh_token"), mark+"/4", "203.0.113.4")
	handle := d.Want(200, "", d.Post("/token", d.BackendExchangeForm(sub), testserver.AsBackend(), at(5)))
	d.Want(200, "", d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeSession, "subject_token", handle.Text("session_token")}, testserver.AsBackend(), at(6)))
	refreshFrom(d, c.Text("refresh_token"), mark+"/7", "203.0.113.7")
	d.Want(400, "invalid_grant", d.Post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", b.Text("refresh_token")}, at(8)))
	d.Clock.Advance(time.Minute)
	d.Want(400, "invalid_grant", d.Post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", b.Text("refresh_token")}, at(9)))
	return a.Text("session_id")
}

func TestDeviceDataComesFromTheSignInAndTheLastUse(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDeviceDeployment(t, url)
		row := d.SessionRow("default", useManyDevices(d, t, "alice", "mark"))
		if row.DeviceName != "mark" || row.UserAgent != "mark/7" || row.IP != "203.0.113.7" {
			t.Errorf("the row has %q, %q, %q", row.DeviceName, row.UserAgent, row.IP)
		}
		events, err := d.Store.SessionEvents(t.Context(), "default", row.ID)
		if err != nil {
			t.Fatal(err)
		}
		told := map[models.EventType]string{}
		for _, e := range events {
			details := e.Details
			told[e.Type] = fmt.Sprint(details["user_agent"], " ", details["ip"], " ", details["last_user_agent"], " ", details["last_ip"])
		}
		for what, want := range map[models.EventType]string{
			models.EventSessionCreated:   "mark/1 203.0.113.1 <nil> <nil>",
			models.EventSessionSteppedUp: "mark/2 203.0.113.2 <nil> <nil>",
			models.EventRefreshElsewhere: "mark/4 203.0.113.4 mark/3 203.0.113.3",
			models.EventRefreshDuplicate: "mark/8 203.0.113.8 mark/7 203.0.113.7",
			models.EventRefreshReuse:     "mark/9 203.0.113.9 mark/7 203.0.113.7",
		} {
			if told[what] != want {
				t.Errorf("%s has %q, want %q", what, told[what], want)
			}
		}
	})
}

func TestAStepUpAndASwapUpdateTheDevice(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDeviceDeployment(t, url)
		a := d.SignInAtBackend("alice")
		for _, form := range [][]string{
			{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeSession, "subject_token", a.Text("session_token")},
			{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "subject_token", d.Proof("alice", "otp"), "latchkey_session_token", a.Text("session_token")},
		} {
			agent, ip := "Browser/"+form[3], fmt.Sprint("203.0.113.", len(form))
			d.Want(200, "", d.Post("/token", form, testserver.AsBackend(), from(agent, ip)))
			if row := d.SessionRow("default", a.Text("session_id")); row.UserAgent != agent || row.IP != ip {
				t.Errorf("the last use was from %q at %q, want %q at %q", row.UserAgent, row.IP, agent, ip)
			}
		}
	})
}

func TestNoDeviceDataIsStoredIfDisabled(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDeviceDeployment(t, url)
		storeDevice(d, false)
		sid := useManyDevices(d, t, "alice", "mark")
		for line := range strings.Lines(d.Stored()) {
			if strings.Contains(line, "mark") || strings.Contains(line, "203.0.113.") {
				t.Errorf("stored: %s", line)
			}
		}
		if got := d.EventTypes(sid); slices.Contains(got, models.EventRefreshElsewhere) || !slices.Contains(got, models.EventRefreshReuse) {
			t.Errorf("events %q", got)
		}
		a := d.Want(200, "", d.Exchange("", "web", d.Proof("bob", "pwd"), "latchkey_device_name", "mark"))
		sameDevice(t, d.Get("/session", testserver.AsBearer(a)), "", "", "")
		if testserver.Claims(t, a)["device"] != "||" {
			t.Errorf("a claim is %v", testserver.Claims(t, a)["device"])
		}
		d.Want(400, "invalid_request", d.Exchange("", "web", d.Proof("bob", "pwd"), "latchkey_device_name", strings.Repeat("x", 101)))

		storeDevice(d, true)
		useManyDevices(d, t, "carol", "mark")
		if !strings.Contains(d.Stored("sessions"), "mark") || !strings.Contains(d.Stored("events"), "203.0.113.") {
			t.Error("and nothing where it is switched on")
		}
	})
}

// sameDevice compares the device of a session object.
func sameDevice(t *testing.T, a *testserver.Answer, name, agent, ip string) {
	t.Helper()
	if got, want := fmt.Sprint(a.JSON["device"]), fmt.Sprint(map[string]any{"name": name, "user_agent": agent, "ip": ip}); got != want {
		t.Errorf("device %s, want %s: %s", got, want, a.Body)
	}
}

func TestStoredDeviceDataIsHiddenAndDeletedOnceDisabled(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDeviceDeployment(t, url)
		a := d.Want(200, "", d.Post("/token", []string{
			"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT, "subject_token", d.Proof("alice", "pwd"), "latchkey_device_name", "phone",
		}, from("Browser/1", "203.0.113.1")))
		sid := a.Text("session_id")
		sameDevice(t, d.Get("/session", testserver.AsBearer(a)), "phone", "Browser/1", "203.0.113.1")
		forget := func() string {
			t.Helper()
			if err := d.Store.ForgetDevices(t.Context()); err != nil {
				t.Fatal(err)
			}
			row := d.SessionRow("default", sid)
			return row.DeviceName + "|" + row.UserAgent + "|" + row.IP
		}
		if got := forget(); got != "phone|Browser/1|203.0.113.1" {
			t.Errorf("%s is left although it is stored", got)
		}
		storeDevice(d, false)
		sameDevice(t, d.Get("/session", testserver.AsBearer(a)), "", "", "")
		if got := forget(); got != "phone|Browser/1|203.0.113.1" {
			t.Errorf("%s is left before every node has heard of it", got)
		}
		d.Clock.Advance(15 * time.Second)
		if got := forget(); got != "||" {
			t.Errorf("%s is left", got)
		}
		storeDevice(d, true)
		b := refreshFrom(d, a.Text("refresh_token"), "Browser/2", "203.0.113.2")
		sameDevice(t, d.Get("/session", testserver.AsBearer(b)), "", "Browser/2", "203.0.113.2")
		d.Clock.Advance(time.Hour)
		if got := forget(); got != "|Browser/2|203.0.113.2" {
			t.Errorf("%s is left, although it is stored again", got)
		}
	})
}

// A retry is compared with the last use. If either device is unknown, the retry counts
// as one from the same device.
func TestARetryFromAnUnknownDeviceIsNotTreatedAsTheft(t *testing.T) {
	for name, stores := range map[string][2]bool{
		"never stored": {false, false}, "switched on in between": {false, true}, "switched off in between": {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, url string) {
				d := newDeviceDeployment(t, url)
				a := d.SignIn("alice")
				token := a.Text("refresh_token")
				for range 3 {
					storeDevice(d, stores[0])
					next := refreshFrom(d, token, "Browser", "203.0.113.1").Text("refresh_token")
					storeDevice(d, stores[1])
					if again := refreshFrom(d, token, "Another", "203.0.113.2").Text("refresh_token"); again != next {
						t.Fatal("the retry has another successor")
					}
					token = next
				}
				if got := d.EventTypes(a.Text("session_id")); len(got) != 1 {
					t.Errorf("events %q", got)
				}
			})
		})
	}
}

func TestADeviceNameOfAHundredLettersIsStoredInFull(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		name := strings.Repeat("é", 100)
		a := d.SignIn("alice", "latchkey_device_name", name)
		if got := d.SessionRow("default", a.Text("session_id")).DeviceName; got != name {
			t.Errorf("stored %q", got)
		}
		d.Want(400, "invalid_request", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil), "latchkey_device_name", name+"é"))
	})
}

func TestLongUserAgentsAreTruncated(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	for name, c := range map[string]struct{ sent, stored string }{
		"of 256 bytes":              {strings.Repeat("a", 256), strings.Repeat("a", 256)},
		"of 257 bytes":              {strings.Repeat("a", 257), strings.Repeat("a", 256)},
		"through a letter":          {strings.Repeat("a", 255) + "é", strings.Repeat("a", 255)},
		"that is not UTF-8":         {"Browser\xff/1", "Browser/1"},
		"with markup stays as sent": {"<script>alert(1)</script>", "<script>alert(1)</script>"},
		"that is missing":           {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.Want(200, "", d.Post("/token", []string{
				"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT, "subject_token", d.Issuer.Token(d.URL, "alice", nil),
			}, testserver.Header("User-Agent", c.sent)))
			if got := d.SessionRow("default", a.Text("session_id")).UserAgent; got != c.stored {
				t.Errorf("stored %q", got)
			}
			if shown := d.Get("/session", testserver.AsBearer(a)); strings.Contains(string(shown.Body), "<") {
				t.Errorf("not escaped: %s", shown.Body)
			}
		})
	}
}
