package testwire

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// repetitions is how often each request is repeated.
const repetitions = 12

// repeatedKinds are events that repeated requests could cause repeatedly. Each case
// prepares a session, and returns its id and the request.
var repeatedKinds = map[models.EventType]struct {
	times   int // expected events
	prepare func(d *testserver.Deployment) (sid string, again func(i int))
}{
	models.EventStepUpRefused: {1, func(d *testserver.Deployment) (string, func(int)) {
		a, strange := d.SignInBy("alice", "pwd"), d.Proof("mallory", "otp")
		token := a.Text("refresh_token")
		return a.Text("session_id"), func(i int) {
			d.Want(400, "invalid_request", d.StepUp(token, strange))
			if i%4 == 3 { // another generation
				token = d.Want(200, "", d.Refresh("", "web", token)).Text("refresh_token")
			}
		}
	}},
	models.EventRefreshDuplicate: {1, func(d *testserver.Deployment) (string, func(int)) {
		a := d.SignIn("alice")
		second := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		d.Want(200, "", d.Refresh("", "web", second.Text("refresh_token")))
		return a.Text("session_id"), func(int) { d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", a.Text("refresh_token"))) }
	}},
	models.EventChainMismatch: {1, func(d *testserver.Deployment) (string, func(int)) {
		a := d.SignIn("alice")
		execute(d, "UPDATE sessions SET refresh_digest = next_digest")
		return a.Text("session_id"), func(int) { d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", a.Text("refresh_token"))) }
	}},
	models.EventRefreshElsewhere: {1, func(d *testserver.Deployment) (string, func(int)) {
		a := d.SignIn("alice")
		refreshFrom(d, a.Text("refresh_token"), "Browser/1", "203.0.113.1")
		return a.Text("session_id"), func(i int) {
			refreshFrom(d, a.Text("refresh_token"), fmt.Sprint("Browser/", i), "203.0.113.2")
		}
	}},
	models.EventRefreshRetriedLate: {1, func(d *testserver.Deployment) (string, func(int)) {
		a := d.SignIn("alice")
		refreshFrom(d, a.Text("refresh_token"), "Browser/1", "203.0.113.1")
		d.Clock.Advance(time.Hour)
		return a.Text("session_id"), func(int) { refreshFrom(d, a.Text("refresh_token"), "Browser/1", "203.0.113.2") }
	}},
	models.EventRefreshReuse: {1, func(d *testserver.Deployment) (string, func(int)) {
		a := d.SignIn("alice")
		second := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		d.Want(200, "", d.Refresh("", "web", second.Text("refresh_token")))
		d.Clock.Advance(time.Hour)
		return a.Text("session_id"), func(int) { d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", a.Text("refresh_token"))) }
	}},
	models.EventClaimLeftOut: {2, func(d *testserver.Deployment) (string, func(int)) { // of both generations
		a := d.SignInBy("alice", "failing")
		d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		return a.Text("session_id"), func(int) { d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token"))) }
	}},
	models.EventACRRuleFailed: {2, func(d *testserver.Deployment) (string, func(int)) { // of the sign-in and the step-up
		a := d.SignInBy("alice", "failing")
		return a.Text("session_id"), func(int) { d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "failing"))) }
	}},
	models.EventAttributeLeftOut: {2, func(d *testserver.Deployment) (string, func(int)) {
		long := func() string {
			return d.Issuer.Token(d.URL, "alice", map[string]any{"amr": []string{"pwd"}, "auth_time": d.Clock.Now().Unix(), "role": strings.Repeat("x", 5000)})
		}
		a := d.Want(200, "", d.Exchange("", "web", long()))
		return a.Text("session_id"), func(int) { d.Want(200, "", d.StepUp(a.Text("refresh_token"), long())) }
	}},
}

// execute changes the database directly.
func execute(d *testserver.Deployment, statement string) {
	d.T.Helper()
	if _, err := testserver.OpenDatabase(d.T, d.DatabaseURL).Exec(statement); err != nil {
		d.T.Fatal(err)
	}
}

// newFailing is a deployment in which a claim and a class fail for users who sign in
// with the method "failing".
func newFailing(t *testing.T, url string) *testserver.Deployment {
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: url, Proxies: []string{"127.0.0.1"}})
	web := testserver.Web()
	web.Claims = map[string]string{"n": "'failing' in session.amr ? int(user.sub) : 0"}
	tenant := testserver.Tenant("default", d.Issuer, web)
	tenant.ACR = []settings.ACRClass{{Value: "strict", When: "'failing' in amr && 1 / size(amr.filter(m, m == 'none')) > 0"}}
	tenant.TrustedIssuers[0].UserAttributes = map[string]string{"role": "token.?role"}
	d.Apply(tenant)
	return d
}

func TestARepeatedRequestDoesNotFillTheEventLog(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newFailing(t, url)
		for what, c := range repeatedKinds {
			t.Run(string(what), func(t *testing.T) {
				d := *d
				d.T = t
				sid, again := c.prepare(&d)
				before := d.Store.EventCounts()
				d.Log.Take()
				for i := range repetitions {
					again(i)
				}
				log := d.Log.Take()
				n := 0
				for _, e := range d.EventTypes(sid) {
					if e == what {
						n++
					}
				}
				if n != c.times {
					t.Errorf("%d events, want %d: %v", n, c.times, d.EventTypes(sid))
				}
				if told := warnings(log, what); told > 1 {
					t.Errorf("%d warnings in the log", told)
				}
				name := models.Event{Type: what, Details: map[string]any{"reason": "reuse_detected"}}.Outward()
				if grown := d.Store.EventCounts()[name] - before[name]; grown > 1 {
					t.Errorf("%s was counted %v times", name, grown)
				}
			})
		}
	})
}

// warnings counts the warnings about an event in a log.
func warnings(log string, of models.EventType) (n int) {
	for line := range strings.Lines(log) {
		var said struct{ Level, Event string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Level == "WARN" && said.Event == string(of) {
			n++
		}
	}
	return n
}

func TestAReplayedClientTokenIsReportedOnce(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		token, other := d.Issuer.Token(d.URL, "alice", nil), d.OtherNode()
		d.Want(200, "", d.Exchange("", "web", token))
		for range repetitions {
			d.Want(400, "invalid_request", d.Exchange("", "web", token))
			d.Want(400, "invalid_request", other.Exchange("", "web", token))
		}
		if n := d.Store.EventCounts()["client_token.replayed"] + other.Store.EventCounts()["client_token.replayed"]; n != 1 {
			t.Errorf("counted %v times", n)
		}
		log := d.Log.String() + other.Log.String()
		if n := warnings(log, models.EventClientTokenReplayed); n != 1 {
			t.Errorf("%d warnings", n)
		}
		if strings.Contains(log, token) {
			t.Error("the log has the token")
		}
	})
}

// An operator gets one line, with ids and without tokens.
func TestATheftIsLoggedAndCounted(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		second := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		third := d.Want(200, "", d.Refresh("", "web", second.Text("refresh_token")))
		d.Clock.Advance(time.Hour)
		d.Log.Take()
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", a.Text("refresh_token")))
		log := d.Log.Take()
		if warnings(log, models.EventRefreshReuse) != 1 || !strings.Contains(log, `"session":"`+a.Text("session_id")+`"`) {
			t.Errorf("the log is\n%s", log)
		}
		for _, token := range []string{a.Text("refresh_token"), second.Text("refresh_token"), third.Text("refresh_token")} {
			if strings.Contains(log, token) || strings.Contains(log, token[len(token)-40:]) {
				t.Error("the log has a token")
			}
		}
		counts := d.Store.EventCounts()
		if counts["session.created"] != 1 || counts["session.ended.reuse_detected"] != 1 {
			t.Errorf("counted %v", counts)
		}
	})
}
