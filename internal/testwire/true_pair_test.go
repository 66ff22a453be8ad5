package testwire

import (
	"fmt"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

const (
	oneFactor  = "urn:latchkey:acr:1"
	twoFactors = "urn:latchkey:acr:2"
	unmet      = "unmet_authentication_requirements"
)

// twoIssuers is a deployment with a second issuer, `strong`, for the same users.
type twoIssuers struct {
	*testserver.Deployment
	strong *testserver.Issuer
	spec   settings.TenantSpec
}

func eachWithTwoIssuers(t *testing.T, test func(t *testing.T, d *twoIssuers)) {
	testserver.EachDatabase(t, func(t *testing.T, deployment *testserver.Deployment) {
		d := &twoIssuers{Deployment: deployment, strong: testserver.NewIssuer(t, deployment.Clock)}
		d.spec = testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
		d.spec.TrustedIssuers = append(d.spec.TrustedIssuers, d.strong.Entry())
		d.spec.TrustedIssuers[0].ShareSubjects, d.spec.TrustedIssuers[1].ShareSubjects = true, true
		d.Apply(d.spec)
		test(t, d)
	})
}

// clientToken returns a client token of an issuer for a user who authenticated with
// these methods some time ago.
func (d *twoIssuers) clientToken(by *testserver.Issuer, ago time.Duration, amr ...string) string {
	return by.Token(d.URL, "alice", map[string]any{"amr": amr, "auth_time": d.Clock.Now().Add(-ago).Unix()})
}

// acrAges returns the acr of a response's access token with its age in seconds, such as
// "phr@60", and the age of each class in acr_times.
func (d *twoIssuers) acrAges(t *testing.T, a *testserver.Answer) (stated, times string) {
	t.Helper()
	return d.acrAgesIn(testserver.Claims(t, a))
}

func (d *twoIssuers) acrAgesIn(claims map[string]any) (stated, times string) {
	now := d.Clock.Now().Unix()
	at, _ := claims["auth_time"].(float64)
	ages := map[string]int64{}
	all, _ := claims["acr_times"].(map[string]any)
	for class, when := range all {
		seconds, _ := when.(float64)
		ages[class] = now - int64(seconds)
	}
	return fmt.Sprintf("%v@%d", claims["acr"], now-int64(at)), fmt.Sprint(ages) // maps print sorted
}

func (d *twoIssuers) wantACRAges(t *testing.T, what string, a *testserver.Answer, stated, times string) {
	t.Helper()
	if gotStated, gotTimes := d.acrAges(t, a); gotStated != stated || gotTimes != times {
		t.Errorf("%s: states %s, acr_times %s; want %s, %s", what, gotStated, gotTimes, stated, times)
	}
}

// A passkey that was used six hours ago and a password that was used just now do not
// count as a passkey that was used just now.
func TestAFreshWeakFactorDoesNotRefreshAStrongOne(t *testing.T) {
	eachWithTwoIssuers(t, func(t *testing.T, d *twoIssuers) {
		const old = 6 * time.Hour
		a := d.Want(200, "", d.Exchange("", "web", d.clientToken(d.strong, old, "hwk")))
		d.wantACRAges(t, "sign-in", a, "phr@21600", "map[phr:21600 urn:latchkey:acr:1:21600]")
		before := d.Written()
		weak := d.clientToken(d.Issuer, 0, "pwd")
		d.Want(400, unmet, d.StepUp(a.Text("refresh_token"), weak, "acr_values", "phr", "max_age", "60"))
		d.Want(400, unmet, d.StepUp(a.Text("refresh_token"), d.Proof("alice"), "acr_values", "phr", "max_age", "60"))
		d.Want(400, unmet, d.StepUp(a.Text("refresh_token"), d.Issuer.Token(d.URL, "alice", nil), "max_age", "60"))
		d.Want(400, unmet, d.StepUp(a.Text("refresh_token"), d.clientToken(d.strong, old, "hwk", "pin"), "max_age", "60"))
		d.WantUnchanged(t, before)

		b := d.Want(200, "", d.StepUp(a.Text("refresh_token"), weak, "max_age", "60"))
		times := "map[phr:21600 phrh:21600 urn:latchkey:acr:1:0 urn:latchkey:acr:2:21600]"
		d.wantACRAges(t, "a step-up that demands an age", b, oneFactor+"@0", times)
		c := d.Want(200, "", d.Refresh("", "web", b.Text("refresh_token")))
		d.wantACRAges(t, "the refresh after it", c, "phrh@21600", times)
		e := d.Want(200, "", d.StepUp(c.Text("refresh_token"), d.clientToken(d.strong, 0, "hwk"), "acr_values", "phr", "max_age", "60"))
		d.wantACRAges(t, "both fresh", e, "phrh@0", "map[phr:0 phrh:0 urn:latchkey:acr:1:0 urn:latchkey:acr:2:0]")
	})
}

func TestAClientTokenWithoutACountedFactorChangesNothing(t *testing.T) {
	eachWithTwoIssuers(t, func(t *testing.T, d *twoIssuers) {
		d.spec.TrustedIssuers[1].Asserts = &[]string{"auth_time"}
		d.Apply(d.spec)
		a := d.Want(200, "", d.Exchange("", "web", d.clientToken(d.Issuer, 0, "hwk")))
		end := a.JSON["session_expires_at"]
		d.Clock.Advance(time.Hour)
		for what, token := range map[string]string{
			"no methods":                       d.Proof("alice"),
			"a method that proves nothing":     d.Proof("alice", "mfa"),
			"an unknown method":                d.Proof("alice", "made-up"),
			"an entry that may not state them": d.clientToken(d.strong, 0, "hwk", "pin"),
			"a proof that it has already":      d.clientToken(d.Issuer, time.Hour, "hwk"),
			"an older proof":                   d.clientToken(d.Issuer, 2*time.Hour, "hwk"),
		} {
			a = d.Want(200, "", d.StepUp(a.Text("refresh_token"), token))
			d.wantACRAges(t, what, a, "phr@3600", "map[phr:3600 urn:latchkey:acr:1:3600]")
			if a.JSON["session_expires_at"] != end {
				t.Errorf("%s moved the end of the session", what)
			}
		}
	})
}

func TestAMissingAuthTimeMeetsNoMaxAge(t *testing.T) {
	eachWithTwoIssuers(t, func(t *testing.T, d *twoIssuers) {
		without := func(by *testserver.Issuer) string {
			return by.Token(d.URL, "alice", map[string]any{"amr": []string{"hwk"}})
		}
		d.Want(400, unmet, d.Exchange("", "web", without(d.Issuer), "max_age", "300"))
		a := d.Want(200, "", d.Exchange("", "web", without(d.Issuer), "acr_values", "phr"))
		d.Want(400, unmet, d.Refresh("", "web", a.Text("refresh_token"), "max_age", "300"))
		d.Want(400, unmet, d.StepUp(a.Text("refresh_token"), without(d.strong), "max_age", "300"))
		a = d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.clientToken(d.strong, 0, "hwk"), "max_age", "300"))
		a = d.Want(200, "", d.StepUp(a.Text("refresh_token"), without(d.strong)))
		d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token"), "acr_values", "phr", "max_age", "300"))

		d.spec.TrustedIssuers[0].Asserts = &[]string{"amr"}
		d.Apply(d.spec)
		d.Want(400, unmet, d.Exchange("", "web", d.clientToken(d.Issuer, 0, "hwk"), "max_age", "300"))
	})
}

func TestAnUnmetDemandAtARefreshSpendsNothing(t *testing.T) {
	eachWithTwoIssuers(t, func(t *testing.T, d *twoIssuers) {
		a := d.Want(200, "", d.Exchange("", "web", d.clientToken(d.Issuer, 2*time.Minute, "pwd")))
		refuse := func(token string) {
			t.Helper()
			for _, demand := range [][]string{{"acr_values", "phr"}, {"max_age", "60"}, {"acr_values", oneFactor, "max_age", "119"}, {"acr_values", "gold"}} {
				d.Want(400, unmet, d.Refresh("", "web", token, demand...))
			}
		}
		before := d.Written()
		refuse(a.Text("refresh_token"))
		d.Want(400, "invalid_request", d.Refresh("", "web", a.Text("refresh_token"), "max_age", "soon"))
		d.WantUnchanged(t, before)

		b := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token"), "acr_values", "phr "+oneFactor, "max_age", "120"))
		before = d.Written()
		refuse(a.Text("refresh_token")) // a retry within the retry window is allowed
		d.WantUnchanged(t, before)
		again := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token"), "max_age", "120"))
		if again.Text("refresh_token") != b.Text("refresh_token") {
			t.Error("the repetition has another successor")
		}
		d.Want(200, "", d.Refresh("", "web", b.Text("refresh_token")))
		d.Clock.Advance(time.Hour)
		d.Want(400, "invalid_grant", d.Refresh("", "web", a.Text("refresh_token"), "acr_values", "phr")) // two generations old: reuse comes first
		d.Want(400, "invalid_grant", d.Refresh("", "web", b.Text("refresh_token")))
	})
}

func TestADemandAtARefreshSelectsAMatchingClass(t *testing.T) {
	eachWithTwoIssuers(t, func(t *testing.T, d *twoIssuers) {
		a := d.Want(200, "", d.Exchange("", "web", d.clientToken(d.strong, time.Hour, "hwk")))
		a = d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.clientToken(d.Issuer, 10*time.Minute, "pwd")))
		a = d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.clientToken(d.Issuer, time.Minute, "otp")))
		times := "map[phr:3600 phrh:3600 urn:latchkey:acr:1:60 urn:latchkey:acr:2:600]"
		for _, c := range []struct{ age, stated string }{{"", "phrh@3600"}, {"3600", "phrh@3600"}, {"3599", twoFactors + "@600"}, {"599", oneFactor + "@60"}} {
			demand := []string{}
			if c.age != "" {
				demand = []string{"max_age", c.age}
			}
			a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token"), demand...))
			d.wantACRAges(t, "max_age "+c.age, a, c.stated, times)
		}
		d.Want(400, unmet, d.Refresh("", "web", a.Text("refresh_token"), "max_age", "59"))
	})
}

func TestFactorsOfADisabledIssuerDoNotCount(t *testing.T) {
	off := map[string]func(d *twoIssuers, t *testing.T){
		"disabled": func(d *twoIssuers, _ *testing.T) { d.spec.TrustedIssuers[1].Disabled = true; d.Apply(d.spec) },
		"removed": func(d *twoIssuers, _ *testing.T) {
			d.spec.TrustedIssuers = d.spec.TrustedIssuers[:1]
			d.Prune(d.spec)
		},
		"disabled and enabled again": func(d *twoIssuers, _ *testing.T) {
			d.spec.TrustedIssuers[1].Disabled = true
			d.Apply(d.spec)
			d.Clock.Advance(time.Second)
			d.spec.TrustedIssuers[1].Disabled = false
			d.Apply(d.spec)
		},
		"no longer allowed to assert methods": func(d *twoIssuers, _ *testing.T) {
			d.spec.TrustedIssuers[1].Asserts = &[]string{"auth_time"}
			d.Apply(d.spec)
		},
		"allowed to vouch for one factor only": func(d *twoIssuers, _ *testing.T) {
			d.spec.TrustedIssuers[1].MaxACR = oneFactor
			d.Apply(d.spec)
		},
	}
	for name, switchOff := range off {
		t.Run(name, func(t *testing.T) {
			eachWithTwoIssuers(t, func(t *testing.T, d *twoIssuers) {
				d.spec.Clients[0].Claims = map[string]string{"level": "session.acr"}
				d.spec.Clients[1].ManageSessions = true
				d.Apply(d.spec)
				a := d.Want(200, "", d.Exchange("", "web", d.clientToken(d.Issuer, 0, "pwd")))
				a = d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.clientToken(d.strong, 0, "hwk")))
				if acr(t, a) != "phrh" {
					t.Fatalf("before: %q", acr(t, a))
				}
				switchOff(d, t)
				shown := func(when string, a *testserver.Answer) {
					t.Helper()
					for what, got := range map[string]*testserver.Answer{
						"introspection of the older token": d.Introspect("", a.Text("access_token")),
						"the session object":               d.Want(200, "", d.Get("/session", testserver.AsBearer(a))),
						"the back end":                     d.Want(200, "", d.Get("/sessions/"+a.Text("session_id"), testserver.AsBackend())),
						"userinfo":                         d.Want(200, "", d.Get("/userinfo", testserver.AsBearer(a))),
					} {
						level := got.Text("acr") + got.Text("level")
						if claims, ok := got.JSON["claims"].(map[string]any); ok {
							level += fmt.Sprint(claims["level"])
						}
						times, _ := got.JSON["acr_times"].(map[string]any)
						if level != oneFactor && level != oneFactor+oneFactor || times["phr"] != nil || times["phrh"] != nil {
							t.Errorf("%s: %s returns %s", when, what, got.Body)
						}
					}
				}
				shown("at once", a)
				d.Want(400, unmet, d.Refresh("", "web", a.Text("refresh_token"), "acr_values", "phr"))
				a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
				if claims := testserver.Claims(t, a); claims["acr"] != oneFactor || claims["level"] != oneFactor {
					t.Errorf("a refresh: %v", claims)
				}
				shown("after a refresh", a)
				a = d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.clientToken(d.Issuer, 0, "otp")))
				if acr(t, a) != twoFactors {
					t.Errorf("a step-up by the other issuer: %q", acr(t, a))
				}
			})
		})
	}
}

// A tenant's rules may depend on age. When a factor stops counting, the earlier results
// stay, except those that depended on the factor.
func TestDisabledFactorsRemoveOnlyTheirOwnClasses(t *testing.T) {
	eachWithTwoIssuers(t, func(t *testing.T, d *twoIssuers) {
		d.spec.ACR = []settings.ACRClass{
			{Value: "any", When: "true"},
			{Value: "young-otp", When: "factors.exists(f, f.amr == 'otp' && f.age < 60)"},
			{Value: "only-otp", When: "amr == ['otp']"},
			{Value: "key", When: "factors.exists(f, f.amr == 'hwk')"},
		}
		d.Apply(d.spec)
		a := d.Want(200, "", d.Exchange("", "web", d.clientToken(d.Issuer, 0, "otp")))
		d.Clock.Advance(30 * time.Second)
		a = d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.clientToken(d.strong, 0, "hwk")))
		d.wantACRAges(t, "raised", a, "key@0", "map[any:0 key:0 young-otp:30]")
		d.Clock.Advance(time.Hour)
		d.spec.TrustedIssuers[1].Disabled = true
		d.Apply(d.spec)
		a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		d.wantACRAges(t, "without the key", a, "young-otp@3630", "map[any:3630 young-otp:3630]")
		d.spec.ACR = []settings.ACRClass{{Value: "gold", When: "true"}}
		d.Apply(d.spec)
		a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		d.wantACRAges(t, "and without the rules", a, "<nil>@3630", "map[]")
	})
}

func TestASwapOfASessionTokenHasTheSameACRAndTime(t *testing.T) {
	eachWithTwoIssuers(t, func(t *testing.T, d *twoIssuers) {
		a := d.Want(200, "", d.Post("/token", []string{
			"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "subject_token", d.clientToken(d.strong, time.Hour, "hwk"),
		}, testserver.AsBackend()))
		a = d.Want(200, "", stepUpAtBackend(d.Deployment, a.Text("session_token"), d.clientToken(d.Issuer, 0, "pwd")))
		times := "map[phr:3600 phrh:3600 urn:latchkey:acr:1:0 urn:latchkey:acr:2:3600]"
		handle := a.Text("session_token")
		d.wantACRAges(t, "a swap", d.Want(200, "", d.ExchangeSession(handle)), "phrh@3600", times)
		d.wantACRAges(t, "a swap that demands an age", d.Want(200, "", d.ExchangeSession(handle, "max_age", "60")), oneFactor+"@0", times)
		d.Want(400, unmet, d.ExchangeSession(handle, "acr_values", "phr", "max_age", "60"))
		for what, got := range map[string]*testserver.Answer{
			"introspection":      d.Post("/introspect", []string{"token", handle}, testserver.AsBackend()),
			"the session object": d.Want(200, "", d.Get("/session", testserver.AsBearer(a))),
		} {
			if stated, all := d.acrAgesIn(got.JSON); stated != "phrh@3600" || all != times {
				t.Errorf("%s: %s, %s", what, stated, all)
			}
		}
	})
}

func TestAnAuthTimeAfterIatCountsAsIat(t *testing.T) {
	eachWithTwoIssuers(t, func(t *testing.T, d *twoIssuers) {
		now := d.Clock.Now().Unix()
		for what, claims := range map[string]map[string]any{
			"auth_time ahead":              {"auth_time": now + 20},
			"auth_time and iat ahead":      {"auth_time": now + 25, "iat": now + 20, "exp": now + 60},
			"auth_time after an older iat": {"auth_time": now, "iat": now - 10},
		} {
			claims["amr"] = []string{"hwk"}
			a := d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", claims), "max_age", "60"))
			got := testserver.Claims(t, a)
			want := min(now, orElse(claims["iat"], now))
			if got["auth_time"] != float64(want) || got["auth_time"].(float64) > got["iat"].(float64) {
				t.Errorf("%s: auth_time %v, iat %v, want %d", what, got["auth_time"], got["iat"], want)
			}
		}
		d.Want(400, "invalid_request", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", map[string]any{"auth_time": now + 31})))
	})
}

func orElse(v any, otherwise int64) int64 {
	if n, ok := v.(int64); ok {
		return n
	}
	return otherwise
}

func TestAnIssuersAMRExpressionDeterminesItsMethods(t *testing.T) {
	eachWithTwoIssuers(t, func(t *testing.T, d *twoIssuers) {
		d.spec.ACR = []settings.ACRClass{{Value: "fed", When: "'fed' in amr"}, {Value: "key", When: "'hwk' in amr"}}
		for _, c := range []struct {
			expression string
			claims     map[string]any
			acr        string
		}{
			{"token.?amr.orValue(['fed'])", nil, "fed"},
			{"token.?amr.orValue(['fed'])", map[string]any{"amr": []string{"hwk"}}, "key"},
			{"token.acr == 'https://idp.example.com/strong' ? ['hwk'] : ['fed']", map[string]any{"acr": "https://idp.example.com/strong"}, "key"},
			{"token.?methods", map[string]any{"amr": []string{"hwk"}}, ""},
			{"token.methods", map[string]any{"amr": []string{"hwk"}}, ""},
		} {
			d.spec.TrustedIssuers[0].AMR = c.expression
			d.Apply(d.spec)
			a := d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", c.claims)))
			if acr(t, a) != c.acr {
				t.Errorf("%s over %v: acr %q, want %q", c.expression, c.claims, acr(t, a), c.acr)
			}
		}
		for _, expression := range []string{"token.amr[9]", "[token.n]", "token.text"} {
			d.spec.TrustedIssuers[0].AMR = expression
			d.Apply(d.spec)
			d.Want(400, "invalid_request", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", map[string]any{"amr": []string{"hwk"}, "n": 1, "text": "hwk"})))
		}
	})
}
