package testwire

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

func TestALostResponseIsRepeatedHoweverLate(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		lost := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		before := d.SessionRow("default", a.Text("session_id"))
		d.Clock.Advance(48 * time.Hour)
		for range 3 { // within a minute
			late := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
			if late.Text("refresh_token") != lost.Text("refresh_token") || late.JSON["latchkey_generation"] != lost.JSON["latchkey_generation"] {
				t.Errorf("another answer: %s", late.Body)
			}
			if late.Text("access_token") == lost.Text("access_token") {
				t.Error("the access token is no fresh one")
			}
		}
		after := d.SessionRow("default", a.Text("session_id"))
		if !after.IdleExpiry.Equal(before.IdleExpiry) || !after.LastActiveAt.Equal(before.LastActiveAt) || !after.Refresh.RotatedAt.Equal(before.Refresh.RotatedAt) {
			t.Errorf("a late retry moved a deadline: %+v, was %+v", after, before)
		}
		if got := strings.Count(fmt.Sprint(d.EventTypes(a.Text("session_id"))), string(models.EventRefreshRetriedLate)); got != 1 {
			t.Errorf("%d events", got)
		}
		d.Want(200, "", d.Refresh("", "web", lost.Text("refresh_token")))
	})
}

// The party that retries late and the holder of the successor cannot both continue.
func TestALateRetryByAThiefIsDetectedWhenTheAppReturns(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		mine := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		d.Clock.Advance(time.Hour)
		stolen := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		d.Want(200, "", d.Refresh("", "web", stolen.Text("refresh_token"))) // the thief continues
		d.Clock.Advance(time.Hour)
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", mine.Text("refresh_token")))
		if d.Active(stolen.Text("access_token")) || !slices.Contains(d.EventTypes(a.Text("session_id")), models.EventRefreshReuse) {
			t.Errorf("the thief continues: %v", d.EventTypes(a.Text("session_id")))
		}
	})
}

func TestASecondLateRetrySoonAfterTheFirstEndsTheSession(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		for refreshes, want := range map[int]int{1: 400, 8: 400, 9: 200} {
			token := d.SignIn("alice").Text("refresh_token")
			lose := func() *testserver.Answer {
				used := token
				token = d.Want(200, "", d.Refresh("", "web", used)).Text("refresh_token")
				d.Clock.Advance(time.Minute)
				return d.Refresh("", "web", used)
			}
			d.Want(200, "", lose())
			for range refreshes - 1 {
				token = d.Want(200, "", d.Refresh("", "web", token)).Text("refresh_token")
			}
			if again := lose(); again.Status != want {
				t.Errorf("%d refreshes later: %d %s", refreshes, again.Status, again.Body)
			}
			if a := d.Refresh("", "web", token); (a.Status == 200) != (want == 200) {
				t.Errorf("%d refreshes later the session: %d %s", refreshes, a.Status, a.Body)
			}
		}
	})
}

func TestALateRetryIsRepeatedThreeTimesAfterAMinute(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		lost := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		d.Clock.Advance(time.Hour)
		for range 4 { // the first, and three repetitions
			if late := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token"))); late.Text("refresh_token") != lost.Text("refresh_token") {
				t.Errorf("another successor: %s", late.Body)
			}
			d.Clock.Advance(time.Minute)
		}
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", a.Text("refresh_token")))
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", lost.Text("refresh_token")))
	})
}

func TestConcurrentLateRetriesGetOneSuccessor(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		lost := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		d.Clock.Advance(time.Hour)
		for _, b := range testserver.InParallel(16, func(int) *testserver.Answer { return d.Refresh("", "web", a.Text("refresh_token")) }) {
			if b.Status != 200 || b.Text("refresh_token") != lost.Text("refresh_token") {
				t.Errorf("status %d %s", b.Status, b.Body)
			}
		}
		if got := strings.Count(fmt.Sprint(d.EventTypes(a.Text("session_id"))), string(models.EventRefreshRetriedLate)); got != 1 {
			t.Errorf("%d events", got)
		}
	})
}

func TestALateRetryFromAnotherDeviceEndsTheSession(t *testing.T) {
	const home, away = "203.0.113.7", "198.51.100.9"
	for name, c := range map[string]struct {
		ip, agent string
		forget    bool // the tenant stores no devices
		want      int
	}{
		"from another network by another product":        {away, "curl/8", false, 400},
		"from another network by a later version":        {away, "app/2", false, 200},
		"from the same network by another product":       {"203.0.113.99", "curl/8", false, 200},
		"from another device where devices are not kept": {away, "curl/8", true, 200},
	} {
		t.Run(name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, url string) {
				d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: url, Proxies: []string{"127.0.0.1"}})
				spec := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
				store := !c.forget
				spec.StoreDevice = &store
				d.Apply(spec)
				a := d.SignIn("alice")
				lost := refreshFrom(d, a.Text("refresh_token"), "app/1", home)
				d.Clock.Advance(time.Hour)
				late := d.Post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", a.Text("refresh_token")}, from(c.agent, c.ip))
				if late.Status != c.want || late.Text("refresh_token") != map[int]string{200: lost.Text("refresh_token")}[c.want] {
					t.Errorf("status %d %s", late.Status, late.Body)
				}
				if reused := slices.Contains(d.EventTypes(a.Text("session_id")), models.EventRefreshReuse); reused != (c.want == 400) {
					t.Errorf("events %v", d.EventTypes(a.Text("session_id")))
				}
			})
		})
	}
}

func TestTheClientDecidesAboutLateRetries(t *testing.T) {
	zero := settings.Duration(0)
	for name, c := range map[string]struct {
		change func(*settings.ClientSpec)
		want   int
	}{
		"by default":                            {func(*settings.ClientSpec) {}, 200},
		"never":                                 {func(c *settings.ClientSpec) { c.LateRetry = settings.LateRetryNever }, 400},
		"with a preset that forbids them":       {func(c *settings.ClientSpec) { c.Preset = "high_security" }, 400},
		"once with such a preset":               {func(c *settings.ClientSpec) { c.Preset, c.LateRetry = "high_security", settings.LateRetryOnce }, 200},
		"without a retry window":                {func(c *settings.ClientSpec) { c.RefreshGrace = &zero }, 400},
		"once without a retry window":           {func(c *settings.ClientSpec) { c.RefreshGrace, c.LateRetry = &zero, settings.LateRetryOnce }, 200},
		"with a window and a forbidding preset": {func(c *settings.ClientSpec) { c.Preset = "aal3" }, 400},
	} {
		t.Run(name, func(t *testing.T) {
			d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.SQLite(t)})
			web := testserver.Web()
			c.change(&web)
			d.Apply(testserver.Tenant("default", d.Issuer, web))
			a := d.SignIn("alice")
			d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
			d.Clock.Advance(time.Minute)
			if late := d.Refresh("", "web", a.Text("refresh_token")); late.Status != c.want {
				t.Errorf("status %d %s", late.Status, late.Body)
			}
		})
	}
}

func TestResponsesReportTheGenerationAndTheRetryWindow(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		b := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		again := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		c := d.Want(200, "", d.Refresh("", "web", b.Text("refresh_token")))
		for want, answers := range map[float64][]*testserver.Answer{0: {a}, 1: {b, again}, 2: {c}} {
			for _, got := range answers {
				if got.JSON["latchkey_generation"] != want || got.JSON["refresh_grace"] != float64(10) {
					t.Errorf("generation %v: %s", want, got.Body)
				}
			}
		}
		machine := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.AsBackend()))
		if machine.JSON["latchkey_generation"] != nil || machine.JSON["refresh_grace"] != nil {
			t.Errorf("without a session: %s", machine.Body)
		}
	})
}
