package testwire

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// attributeTenant has two issuers for the same users, of which the first maps
// attributes, and clients whose tokens contain them.
func attributeTenant(d *testserver.Deployment, second *testserver.Issuer) settings.TenantSpec {
	web := testserver.Web()
	web.Claims = map[string]string{"role": "user.role", "email": "user.email"}
	spec := testserver.Tenant("default", d.Issuer, web, testserver.Backend())
	spec.TrustedIssuers = append(spec.TrustedIssuers, testserver.Tenant("default", second).TrustedIssuers...)
	for i := range spec.TrustedIssuers {
		spec.TrustedIssuers[i].ShareSubjects = true
		spec.TrustedIssuers[i].UserAttributes = nil
	}
	spec.TrustedIssuers[0].UserAttributes = map[string]string{"role": "token.?role"}
	return spec
}

// signInWith exchanges a token of the issuer for alice.
func signInWith(d *testserver.Deployment, issuer *testserver.Issuer, claims map[string]any) *testserver.Answer {
	return d.Want(200, "", d.Exchange("", "web", issuer.Token(d.URL, "alice", claims)))
}

func role(t *testing.T, a *testserver.Answer) any {
	t.Helper()
	return testserver.Claims(t, a)["role"]
}

func TestAWithdrawnAttributeIsRemovedAtTheNextSignIn(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(attributeTenant(d, testserver.NewIssuer(t, d.Clock)))
		first := signInWith(d, d.Issuer, map[string]any{"role": "admin"})
		if got := role(t, first); got != "admin" {
			t.Fatalf("role %v", got)
		}
		if got := role(t, signInWith(d, d.Issuer, nil)); got != nil {
			t.Errorf("a token without a role leaves %v", got)
		}
		if got := role(t, d.Want(200, "", d.Refresh("", "web", first.Text("refresh_token")))); got != nil {
			t.Errorf("another session of the user still gets %v", got)
		}
	})
}

func TestAnAttributeCountsWhileItsEntryMapsIt(t *testing.T) {
	for name, c := range map[string]struct {
		off  func(t *testing.T, d *testserver.Deployment, spec *settings.TenantSpec)
		back any // the role once the entry is restored
	}{
		"disabled": {func(_ *testing.T, d *testserver.Deployment, spec *settings.TenantSpec) {
			spec.TrustedIssuers[0].Disabled = true
			d.Apply(*spec)
		}, "admin"},
		"suspended": {func(t *testing.T, d *testserver.Deployment, _ *settings.TenantSpec) {
			operate(t, d, suspension(models.KindIssuer, d.Issuer.URL), false)
		}, "admin"},
		"removed": {func(_ *testing.T, d *testserver.Deployment, spec *settings.TenantSpec) {
			spec.TrustedIssuers = spec.TrustedIssuers[1:]
			d.Prune(*spec)
		}, nil},
		"without the mapping": {func(_ *testing.T, d *testserver.Deployment, spec *settings.TenantSpec) {
			spec.TrustedIssuers[0].UserAttributes = map[string]string{"email": "token.?email"}
			d.Apply(*spec)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				second := testserver.NewIssuer(t, d.Clock)
				d.Apply(attributeTenant(d, second))
				signInWith(d, d.Issuer, map[string]any{"role": "admin"})
				here := signInWith(d, second, nil)
				if got := role(t, here); got != "admin" {
					t.Fatalf("a session through another issuer has the role %v", got)
				}
				d.Clock.Advance(time.Second)
				spec := attributeTenant(d, second)
				c.off(t, d, &spec)
				if err := d.OAuth.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				here = d.Want(200, "", d.Refresh("", "web", here.Text("refresh_token")))
				if got := role(t, here); got != nil {
					t.Errorf("the access token has %v", got)
				}
				if info := d.Want(200, "", d.Get("/userinfo", testserver.AsBearer(here))); info.JSON["role"] != nil {
					t.Errorf("userinfo returns %s", info.Body)
				}
				d.Clock.Advance(time.Second)
				if name == "suspended" {
					operate(t, d, suspension(models.KindIssuer, d.Issuer.URL), true)
				}
				d.Apply(attributeTenant(d, second))
				if got := role(t, d.Want(200, "", d.Refresh("", "web", here.Text("refresh_token")))); got != c.back {
					t.Errorf("with the entry as before, the role is %v, want %v", got, c.back)
				}
			})
		})
	}
}

// In allow, `user` is the stored user with the attributes that the token sets, and
// without those that it removes.
func TestAllowSeesTheUpdatedUser(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		spec := attributeTenant(d, testserver.NewIssuer(t, d.Clock))
		d.Apply(spec)
		signInWith(d, d.Issuer, map[string]any{"role": "admin"})
		spec.Clients[0].Allow = "user.?role.orValue('') == 'admin'"
		d.Apply(spec)
		d.Want(400, "invalid_request", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil)))
		d.Want(400, "invalid_request", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", map[string]any{"role": "user"})))
		signInWith(d, d.Issuer, map[string]any{"role": "admin"})
		spec.Users = []settings.UserSpec{{Sub: "alice", Attributes: map[string]any{"role": "user"}}}
		d.Apply(spec)
		d.Want(400, "invalid_request", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", map[string]any{"role": "admin"})))
	})
}

func TestATooLongAttributeIsOmitted(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		spec := attributeTenant(d, testserver.NewIssuer(t, d.Clock))
		spec.TrustedIssuers[0].UserAttributes = map[string]string{"role": "token.?groups", "email": "token.?email"}
		spec.TrustedIssuers[0].SessionAttributes = map[string]string{"groups": "token.?groups"}
		d.Apply(spec)
		groups := func(n int) (list []string) {
			for i := range n {
				list = append(list, fmt.Sprintf("%036d", i))
			}
			return list
		}
		signInWith(d, d.Issuer, map[string]any{"groups": groups(2)})
		a := signInWith(d, d.Issuer, map[string]any{"groups": groups(110), "email": "alice@example.com"})
		claims := testserver.Claims(t, a)
		if claims["role"] != nil || claims["email"] != "alice@example.com" {
			t.Errorf("claims %v", claims)
		}
		if types := d.EventTypes(a.Text("session_id")); len(types) != 2 || !slices.Contains(types, models.EventAttributeLeftOut) {
			t.Errorf("events %q", types)
		}
		if session := d.Want(200, "", d.Get("/session", testserver.AsBearer(a))); strings.Contains(string(session.Body), "0000000") {
			t.Errorf("the session has the long attribute: %s", session.Body)
		}
	})
}
