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

// ranks are classes of a tenant, from weakest to strongest.
var ranks = []settings.ACRClass{
	{Value: "urn:example:basic", When: "amr.size() > 0"},
	{Value: "urn:example:two", When: "kinds.size() >= 2"},
	{Value: "urn:example:key", When: "factors.exists(f, f.amr in ['hwk', 'swk'] && f.age >= 0 && f.age < 3600)"},
}

// ranked applies a tenant with its own classes.
func ranked(d *testserver.Deployment, classes []settings.ACRClass, change ...func(*settings.TenantSpec)) {
	d.T.Helper()
	tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
	tenant.ACR = classes
	for _, fn := range change {
		fn(&tenant)
	}
	d.Apply(tenant)
}

// acr returns the acr of a response's access token, or "".
func acr(t *testing.T, a *testserver.Answer) string {
	t.Helper()
	value, _ := testserver.Claims(t, a)["acr"].(string)
	return value
}

func TestTheRulesOfATenantDetermineTheACR(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		ranked(d, ranks)
		hour := map[string]any{"amr": []string{"hwk"}, "auth_time": d.Clock.Now().Unix() - 3600}
		for name, c := range map[string]struct {
			claims map[string]any
			want   string
		}{
			"one method":                      {map[string]any{"amr": []string{"pwd"}}, "urn:example:basic"},
			"an unknown one":                  {map[string]any{"amr": []string{"made-up"}}, "urn:example:basic"},
			"two of one kind":                 {map[string]any{"amr": []string{"pwd", "pin"}}, "urn:example:basic"},
			"two kinds":                       {map[string]any{"amr": []string{"pwd", "otp"}}, "urn:example:two"},
			"a key":                           {map[string]any{"amr": []string{"hwk"}}, "urn:example:key"},
			"a key of an hour ago":            {hour, "urn:example:basic"},
			"a key with a PIN is no phrh":     {map[string]any{"amr": []string{"hwk", "pin"}}, "urn:example:key"},
			"a key, by a clock that is ahead": {map[string]any{"amr": []string{"hwk"}, "auth_time": d.Clock.Now().Unix() + 20}, "urn:example:key"},
			"nothing":                         {nil, ""},
		} {
			t.Run(name, func(t *testing.T) {
				a := d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", c.claims)))
				if got := acr(t, a); got != c.want {
					t.Errorf("acr %q, want %q", got, c.want)
				}
			})
		}
		if got := fmt.Sprint(d.Get("/.well-known/openid-configuration").JSON["acr_values_supported"]); got != "[urn:example:basic urn:example:two urn:example:key]" {
			t.Errorf("metadata: %s", got)
		}
	})
}

// Rules use the age of a factor at the time of the proof. Later ages matter only for
// max_age.
func TestAnACRStaysUnchangedAfterTheSignIn(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		web := func(tenant *settings.TenantSpec) {
			tenant.Clients[0].Claims = map[string]string{"level": "session.acr"}
			tenant.Clients[1].ManageSessions = true
		}
		ranked(d, ranks, web)
		a := d.SignInBy("alice", "hwk")
		b := d.SignInAtBackend("bob")
		d.Clock.Advance(2 * time.Hour)
		shown := func(when string, a *testserver.Answer, want string) *testserver.Answer {
			t.Helper()
			a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
			if c := testserver.Claims(t, a); c["acr"] != want || c["level"] != want {
				t.Errorf("%s: a token has acr %v, and its custom claim is %v", when, c["acr"], c["level"])
			}
			for what, got := range map[string]string{
				"introspection":     d.Introspect("", a.Text("access_token")).Text("acr"),
				"the object":        d.Want(200, "", d.Get("/session", testserver.AsBearer(a))).Text("acr"),
				"the back end sees": d.Want(200, "", d.Get("/sessions/"+a.Text("session_id"), testserver.AsBackend())).Text("acr"),
			} {
				if got != want {
					t.Errorf("%s: %s: %q, want %q", when, what, got, want)
				}
			}
			return a
		}
		a = shown("two hours later", a, "urn:example:key")
		ranked(d, []settings.ACRClass{{Value: "gold", When: "true"}}, web)
		a = shown("under other rules", a, "urn:example:key")
		ranked(d, nil, web)
		a = shown("under the default classes", a, "urn:example:key")
		a = d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "pin")))
		a = shown("after the next step-up", a, "phrh")
		if row := d.SessionRow("default", a.Text("session_id")); row.StoredACR != nil { // which an earlier release would not change
			t.Errorf("the row keeps %q", *row.StoredACR)
		}
		ranked(d, ranks, web)
		a = shown("and under rules again", a, "phrh")
		a = d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "pwd")))
		shown("which the next step-up follows", a, "urn:example:two")
		if swapped := d.Want(200, "", d.ExchangeSession(b.Text("session_token"))); acr(t, swapped) != "" {
			t.Errorf("bob, who proved nothing, has %q", acr(t, swapped))
		}
	})
}

func TestMaxACRFollowsTheTenantsOrder(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		for _, c := range []struct {
			name, most string
			asserts    []string
			asserted   string
			want       string
		}{
			{"no maximum", "", nil, "", "urn:example:key"},
			{"the strongest", "urn:example:key", nil, "", "urn:example:key"},
			{"one below", "urn:example:two", nil, "", "urn:example:two"},
			{"the weakest", "urn:example:basic", nil, "", "urn:example:basic"},
			{"an asserted acr that it may not assert", "", nil, "urn:example:key", "urn:example:basic"},
			{"an asserted acr, up to the maximum", "urn:example:two", []string{"amr", "acr"}, "urn:example:key", "urn:example:two"},
			{"an asserted acr of the default classes", "", []string{"amr", "acr"}, "phrh", "urn:example:basic"},
		} {
			t.Run(c.name, func(t *testing.T) {
				ranked(d, ranks, func(tenant *settings.TenantSpec) {
					tenant.TrustedIssuers[0].MaxACR = c.most
					if c.asserts != nil {
						tenant.TrustedIssuers[0].Asserts = &c.asserts
					}
				})
				proved := map[string]any{"amr": []string{"hwk", "pin"}}
				if c.asserted != "" {
					proved = map[string]any{"amr": []string{"pwd"}, "acr": c.asserted}
				}
				a := d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", proved)))
				if got := acr(t, a); got != c.want {
					t.Errorf("acr %q, want %q", got, c.want)
				}
			})
		}
	})
}

func TestAssertedACRCountsWithoutARule(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	ranked(d, []settings.ACRClass{{Value: "loa1", When: "true"}, {Value: "loa2", When: "factors.exists(f, f.acr == 'https://refeds.org/profile/mfa')"}, {Value: "loa3", When: "false"}},
		func(tenant *settings.TenantSpec) { tenant.TrustedIssuers[0].Asserts = &[]string{"amr", "acr"} })
	for asserted, want := range map[string]string{"loa3": "loa3", "https://refeds.org/profile/mfa": "loa2", "loa4": "loa1", "": "loa1"} {
		a := d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", map[string]any{"amr": []string{"pwd"}, "acr": asserted})))
		if got := acr(t, a); got != want {
			t.Errorf("asserted %q: acr %q, want %q", asserted, got, want)
		}
	}
}

func TestDemandsFollowTheTenantsOrder(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		ranked(d, ranks)
		const basic, two = "urn:example:basic", "urn:example:two"
		hour := d.Issuer.Token(d.URL, "alice", map[string]any{"amr": []string{"hwk"}, "auth_time": d.Clock.Now().Unix() - 3600})
		before := d.Written()
		d.Want(400, "unmet_authentication_requirements", d.Exchange("", "web", d.Proof("alice", "pwd"), "acr_values", two))
		d.Want(400, "unmet_authentication_requirements", d.Exchange("", "web", d.Proof("alice", "hwk"), "acr_values", "phrh"))
		d.Want(400, "unmet_authentication_requirements", d.Exchange("", "web", d.Proof("alice", "hwk", "pin"), "acr_values", "urn:latchkey:acr:1"))
		d.Want(400, "unmet_authentication_requirements", d.Exchange("", "web", hour, "acr_values", "urn:example:key"))
		d.WantUnchanged(t, before)
		d.Want(200, "", d.Exchange("", "web", hour, "acr_values", "urn:example:key "+basic))
		d.Want(200, "", d.Exchange("", "web", d.Proof("alice", "hwk"), "acr_values", two))
		a := d.SignInBy("alice", "pwd")
		d.Want(400, "unmet_authentication_requirements", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "pin"), "acr_values", two))
		d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "otp"), "acr_values", two))

		b := d.Want(200, "", d.Post("/token", []string{
			"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "subject_token", d.Proof("alice", "hwk"),
		}, testserver.AsBackend()))
		d.Clock.Advance(2 * time.Hour)
		d.Want(200, "", d.ExchangeSession(b.Text("session_token"), "acr_values", two))
		d.Want(400, "unmet_authentication_requirements", d.ExchangeSession(b.Text("session_token"), "acr_values", "phrh"))
		d.Want(400, "unmet_authentication_requirements", d.ExchangeSession(b.Text("session_token"), "max_age", "3600"))
	})
}

func TestAStepUpIsDecidedByTheTenantsRules(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		ranked(d, ranks)
		end := func(a *testserver.Answer) time.Duration {
			return time.Unix(int64(a.JSON["session_expires_at"].(float64)), 0).Sub(d.Clock.Now())
		}
		const month = 30 * 24 * time.Hour
		a := d.SignInBy("alice", "pwd")
		for _, step := range []struct {
			name  string
			proof string
			acr   string
			full  bool
		}{
			{"a second kind", "otp", "urn:example:two", false},
			{"one of the two", "otp", "urn:example:two", false},
			{"a key, the only accepted factor", "swk", "urn:example:key", true},
			{"a factor that the class does not accept", "pin", "urn:example:key", false},
			{"the key again", "swk", "urn:example:key", true},
		} {
			d.Clock.Advance(time.Minute)
			a = d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", step.proof)))
			if got := acr(t, a); got != step.acr || (end(a) == month) != step.full {
				t.Errorf("%s: acr %q, and the end is in %v", step.name, got, end(a))
			}
		}
		d.Clock.Advance(2 * time.Hour)
		a = d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "pwd")))
		if got := acr(t, a); got != "urn:example:two" || end(a) == month {
			t.Errorf("the key is too old: acr %q, and the end is in %v", got, end(a))
		}
		events, err := d.Store.SessionEvents(t.Context(), "default", d.SessionRow("default", a.Text("session_id")).ID)
		if err != nil {
			t.Fatal(err)
		}
		if last := events[len(events)-1]; last.Type != models.EventSessionSteppedUp || last.Details["acr"] != "urn:example:two" {
			t.Errorf("events: %v", last)
		}
	})
}

// Rows of an earlier release have no acr.
func TestASessionWithoutAnACRHasTheDefault(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: url})
		ranked(d, ranks)
		a := d.SignInBy("alice", "pwd", "otp")
		if acr(t, a) != "urn:example:two" {
			t.Fatalf("acr %q", acr(t, a))
		}
		if _, err := testserver.OpenDatabase(t, url).Exec("UPDATE sessions SET acr = NULL"); err != nil {
			t.Fatal(err)
		}
		a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		if acr(t, a) != "urn:latchkey:acr:2" {
			t.Errorf("acr %q", acr(t, a))
		}
		a = d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "pin")))
		if acr(t, a) != "urn:example:two" {
			t.Errorf("after a step-up: acr %q", acr(t, a))
		}
	})
}

func TestAFailingRuleIsFalseAndLogged(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		costly := "amr.all(a, amr.all(b, amr.all(c, amr.all(d, amr.all(e, a + b + c + d + e != '')))))"
		ranked(d, []settings.ACRClass{
			{Value: "weak", When: "true"}, {Value: "second", When: "factors[1].age < 60"}, {Value: "text", When: "dyn(amr[0])"}, {Value: "costly", When: costly},
		})
		many := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
		for _, c := range []struct {
			amr    []string
			acr    string
			failed string
		}{
			{[]string{"pwd"}, "costly", ""},
			{many, "second", "[costly text]"},
		} {
			a := d.SignInBy("alice", c.amr...)
			if got := acr(t, a); got != c.acr {
				t.Errorf("%q: acr %q, want %q", c.amr, got, c.acr)
			}
			if got := failedRules(d, t, a); got != c.failed {
				t.Errorf("%q: events %s, want %s", c.amr, got, c.failed)
			}
		}
		a := d.SignInBy("alice", "pwd")
		d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", many...)))
		if got := failedRules(d, t, a); got != "[costly text]" {
			t.Errorf("a step-up recorded %s", got)
		}
		d.Log.Take()
		d.Want(400, "unmet_authentication_requirements", d.Exchange("", "web", d.Proof("alice", many...), "acr_values", "costly"))
		if log := d.Log.String(); !strings.Contains(log, "acr rule costly: cost limit exceeded") || !strings.Contains(log, "acr rule text: the rule does not return a boolean") {
			t.Errorf("the log does not give the reason:\n%s", log)
		}
	})
}

// failedRules returns the failed rules in the events of a response's session.
func failedRules(d *testserver.Deployment, t *testing.T, a *testserver.Answer) string {
	t.Helper()
	events, err := d.Store.SessionEvents(t.Context(), "default", d.SessionRow("default", a.Text("session_id")).ID)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(events, func(e models.Event) bool { return e.Type == models.EventACRRuleFailed })
	if at < 0 {
		return ""
	}
	return fmt.Sprint(events[at].Details["acr"])
}
