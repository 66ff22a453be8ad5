package handlers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// ranks are classes of a tenant, rising.
var ranks = []models.ACRClass{
	{Value: "urn:example:basic", When: "amr.size() > 0"},
	{Value: "urn:example:two", When: "kinds.size() >= 2"},
	{Value: "urn:example:key", When: "factors.exists(f, f.amr in ['hwk', 'swk'] && f.age >= 0 && f.age < 3600)"},
}

// ranked gives the tenant classes of its own.
func (w *world) ranked(classes []models.ACRClass, change ...func(*models.TenantSpec)) {
	w.t.Helper()
	tenant := testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend())
	tenant.ACR = classes
	for _, fn := range change {
		fn(&tenant)
	}
	w.Apply(tenant)
}

// acr is what an answer's access token says, empty if it says nothing.
func acr(t *testing.T, a *testserver.Answer) string {
	t.Helper()
	value, _ := claims(t, a)["acr"].(string)
	return value
}

func TestRulesOfATenantChooseItsACR(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.ranked(ranks)
		hour := map[string]any{"amr": []string{"hwk"}, "auth_time": w.Clock.Now().Unix() - 3600}
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
			"a key, by a clock that is ahead": {map[string]any{"amr": []string{"hwk"}, "auth_time": w.Clock.Now().Unix() + 20}, "urn:example:key"},
			"nothing":                         {nil, ""},
		} {
			t.Run(name, func(t *testing.T) {
				a := w.want(200, "", w.Exchange("", "web", w.issuer.Token(w.URL, "alice", c.claims)))
				if got := acr(t, a); got != c.want {
					t.Errorf("acr %q, want %q", got, c.want)
				}
			})
		}
		if got := fmt.Sprint(w.Get("/.well-known/openid-configuration").JSON["acr_values_supported"]); got != "[urn:example:basic urn:example:two urn:example:key]" {
			t.Errorf("metadata: %s", got)
		}
	})
}

// The age of a factor counts when it is proved; later it is the business of
// who demands max_age.
func TestAnACRStaysAsItWasDecided(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		web := func(tenant *models.TenantSpec) {
			tenant.Clients[0].Claims = map[string]string{"level": "session.acr"}
			tenant.Clients[1].ManageSessions = true
		}
		w.ranked(ranks, web)
		a := w.signInBy("alice", "hwk")
		b := w.signInAtBackend("bob")
		w.Clock.Advance(2 * time.Hour)
		shown := func(when string, a *testserver.Answer, want string) *testserver.Answer {
			t.Helper()
			a = w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
			if c := claims(t, a); c["acr"] != want || c["level"] != want {
				t.Errorf("%s: a token says %v, and its own claim %v", when, c["acr"], c["level"])
			}
			for what, got := range map[string]string{
				"introspection":     w.Introspect("", a.Text("access_token")).Text("acr"),
				"the object":        w.want(200, "", w.Get("/session", as(a))).Text("acr"),
				"the back end sees": w.want(200, "", w.Get("/sessions/"+a.Text("session_id"), asBackend())).Text("acr"),
			} {
				if got != want {
					t.Errorf("%s: %s: %q, want %q", when, what, got, want)
				}
			}
			return a
		}
		a = shown("two hours later", a, "urn:example:key")
		w.ranked([]models.ACRClass{{Value: "gold", When: "true"}}, web)
		a = shown("under other rules", a, "urn:example:key")
		w.ranked(nil, web)
		a = shown("under the default classes", a, "urn:example:key")
		a = w.want(200, "", w.stepUp(a.Text("refresh_token"), w.proof("alice", "pin")))
		a = shown("after the next step-up", a, "phrh")
		if row := w.session("default", a.Text("session_id")); row.KeptACR != nil { // which an earlier release would leave as it is
			t.Errorf("the row keeps %q", *row.KeptACR)
		}
		w.ranked(ranks, web)
		a = shown("and under rules again", a, "phrh")
		a = w.want(200, "", w.stepUp(a.Text("refresh_token"), w.proof("alice", "pwd")))
		shown("which the next step-up follows", a, "urn:example:two")
		if swapped := w.want(200, "", w.swap(b.Text("session_token"))); acr(t, swapped) != "" {
			t.Errorf("bob, who proved nothing, has %q", acr(t, swapped))
		}
	})
}

func TestAnEntryVouchesUpToItsPlaceInTheTenantsOrder(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
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
				w.ranked(ranks, func(tenant *models.TenantSpec) {
					tenant.TrustedIssuers[0].MaxACR = c.most
					if c.asserts != nil {
						tenant.TrustedIssuers[0].Asserts = &c.asserts
					}
				})
				proved := map[string]any{"amr": []string{"hwk", "pin"}}
				if c.asserted != "" {
					proved = map[string]any{"amr": []string{"pwd"}, "acr": c.asserted}
				}
				a := w.want(200, "", w.Exchange("", "web", w.issuer.Token(w.URL, "alice", proved)))
				if got := acr(t, a); got != c.want {
					t.Errorf("acr %q, want %q", got, c.want)
				}
			})
		}
	})
}

func TestAssertedACRCountsWithoutARule(t *testing.T) {
	w := newWorld(t, sqlite(t))
	w.ranked([]models.ACRClass{{Value: "loa1", When: "true"}, {Value: "loa2", When: "factors.exists(f, f.acr == 'https://refeds.org/profile/mfa')"}, {Value: "loa3", When: "false"}},
		func(tenant *models.TenantSpec) { tenant.TrustedIssuers[0].Asserts = &[]string{"amr", "acr"} })
	for asserted, want := range map[string]string{"loa3": "loa3", "https://refeds.org/profile/mfa": "loa2", "loa4": "loa1", "": "loa1"} {
		a := w.want(200, "", w.Exchange("", "web", w.issuer.Token(w.URL, "alice", map[string]any{"amr": []string{"pwd"}, "acr": asserted})))
		if got := acr(t, a); got != want {
			t.Errorf("asserted %q: acr %q, want %q", asserted, got, want)
		}
	}
}

func TestDemandsFollowTheTenantsOrder(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.ranked(ranks)
		const basic, two = "urn:example:basic", "urn:example:two"
		hour := w.issuer.Token(w.URL, "alice", map[string]any{"amr": []string{"hwk"}, "auth_time": w.Clock.Now().Unix() - 3600})
		before := w.written()
		w.want(400, "unmet_authentication_requirements", w.Exchange("", "web", w.proof("alice", "pwd"), "acr_values", two))
		w.want(400, "unmet_authentication_requirements", w.Exchange("", "web", w.proof("alice", "hwk"), "acr_values", "phrh"))
		w.want(400, "unmet_authentication_requirements", w.Exchange("", "web", w.proof("alice", "hwk", "pin"), "acr_values", "urn:latchkey:acr:1"))
		w.want(400, "unmet_authentication_requirements", w.Exchange("", "web", hour, "acr_values", "urn:example:key"))
		w.same(t, before)
		w.want(200, "", w.Exchange("", "web", hour, "acr_values", "urn:example:key "+basic))
		w.want(200, "", w.Exchange("", "web", w.proof("alice", "hwk"), "acr_values", two))
		a := w.signInBy("alice", "pwd")
		w.want(400, "unmet_authentication_requirements", w.stepUp(a.Text("refresh_token"), w.proof("alice", "pin"), "acr_values", two))
		w.want(200, "", w.stepUp(a.Text("refresh_token"), w.proof("alice", "otp"), "acr_values", two))

		b := w.want(200, "", w.Post("/token", []string{
			"grant_type", tokenExchange, "subject_token_type", ofJWT, "subject_token", w.proof("alice", "hwk"),
		}, asBackend()))
		w.Clock.Advance(2 * time.Hour)
		w.want(200, "", w.swap(b.Text("session_token"), "acr_values", two))
		w.want(400, "unmet_authentication_requirements", w.swap(b.Text("session_token"), "acr_values", "phrh"))
		w.want(400, "unmet_authentication_requirements", w.swap(b.Text("session_token"), "max_age", "3600"))
	})
}

func TestAStepUpIsDecidedByTheTenantsRules(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.ranked(ranks)
		end := func(a *testserver.Answer) time.Duration {
			return time.Unix(int64(a.JSON["session_expires_at"].(float64)), 0).Sub(w.Clock.Now())
		}
		const month = 30 * 24 * time.Hour
		a := w.signInBy("alice", "pwd")
		for _, step := range []struct {
			name  string
			proof string
			acr   string
			anew  bool
		}{
			{"a second kind", "otp", "urn:example:two", false},
			{"one of the two", "otp", "urn:example:two", false},
			{"a key, which is all that the class takes", "swk", "urn:example:key", true},
			{"what the class does not take", "pin", "urn:example:key", false},
			{"the key again", "swk", "urn:example:key", true},
		} {
			w.Clock.Advance(time.Minute)
			a = w.want(200, "", w.stepUp(a.Text("refresh_token"), w.proof("alice", step.proof)))
			if got := acr(t, a); got != step.acr || (end(a) == month) != step.anew {
				t.Errorf("%s: acr %q, and the end is in %v", step.name, got, end(a))
			}
		}
		w.Clock.Advance(2 * time.Hour)
		a = w.want(200, "", w.stepUp(a.Text("refresh_token"), w.proof("alice", "pwd")))
		if got := acr(t, a); got != "urn:example:two" || end(a) == month {
			t.Errorf("the key is too old: acr %q, and the end is in %v", got, end(a))
		}
		events, err := w.Store.SessionEvents(t.Context(), "default", w.session("default", a.Text("session_id")).ID)
		if err != nil {
			t.Fatal(err)
		}
		if last := events[len(events)-1]; last.Type != models.EventSessionRaised || last.Details["acr"] != "urn:example:two" {
			t.Errorf("told: %v", last)
		}
	})
}

// Rows that an earlier release wrote say nothing of acr.
func TestASessionWithoutAnACROfItsOwnHasTheDefaultOne(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		w := newWorld(t, testserver.Options{DatabaseURL: url})
		w.ranked(ranks)
		a := w.signInBy("alice", "pwd", "otp")
		if acr(t, a) != "urn:example:two" {
			t.Fatalf("acr %q", acr(t, a))
		}
		if _, err := openDatabase(t, url).Exec("UPDATE sessions SET acr = NULL"); err != nil {
			t.Fatal(err)
		}
		a = w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
		if acr(t, a) != "urn:latchkey:acr:2" {
			t.Errorf("acr %q", acr(t, a))
		}
		a = w.want(200, "", w.stepUp(a.Text("refresh_token"), w.proof("alice", "pin")))
		if acr(t, a) != "urn:example:two" {
			t.Errorf("after a step-up: acr %q", acr(t, a))
		}
	})
}

func TestARuleThatFailsDoesNotHoldAndIsTold(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		costly := "amr.all(a, amr.all(b, amr.all(c, amr.all(d, amr.all(e, a + b + c + d + e != '')))))"
		w.ranked([]models.ACRClass{
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
			a := w.signInBy("alice", c.amr...)
			if got := acr(t, a); got != c.acr {
				t.Errorf("%q: acr %q, want %q", c.amr, got, c.acr)
			}
			if got := w.failedRules(t, a); got != c.failed {
				t.Errorf("%q: told %s, want %s", c.amr, got, c.failed)
			}
		}
		a := w.signInBy("alice", "pwd")
		w.want(200, "", w.stepUp(a.Text("refresh_token"), w.proof("alice", many...)))
		if got := w.failedRules(t, a); got != "[costly text]" {
			t.Errorf("a step-up told %s", got)
		}
		w.Log.Take()
		w.want(400, "unmet_authentication_requirements", w.Exchange("", "web", w.proof("alice", many...), "acr_values", "costly"))
		if log := w.Log.String(); !strings.Contains(log, "acr rule costly: operation cancelled") {
			t.Errorf("the log does not say why:\n%s", log)
		}
	})
}

// failedRules are those that the events of an answer's session name.
func (w *world) failedRules(t *testing.T, a *testserver.Answer) string {
	t.Helper()
	events, err := w.Store.SessionEvents(t.Context(), "default", w.session("default", a.Text("session_id")).ID)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(events, func(e models.Event) bool { return e.Type == models.EventACRRuleFailed })
	if at < 0 {
		return ""
	}
	return fmt.Sprint(events[at].Details["acr"])
}
