package testfeed

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

// fromMemory is the introspection.max_age of these tests.
const fromMemory = 2 * time.Second

// newWithMemory starts a server that introspects from memory, with the clients of
// SessionTenant.
func newWithMemory(t *testing.T, o testserver.Options) *testserver.Deployment {
	o.Run, o.IntrospectionMaxAge = true, fromMemory
	return testserver.NewSessionDeployment(t, o)
}

func eachWithMemory(t *testing.T, test func(t *testing.T, d *testserver.Deployment)) {
	testdb.Each(t, func(t *testing.T, url string) { test(t, newWithMemory(t, testserver.Options{DatabaseURL: url})) })
}

func TestWhatIntrospectionReads(t *testing.T) {
	for _, c := range []struct {
		name   string
		maxAge time.Duration
		reads  int // database reads for an access token
	}{{"by default", 0, 1}, {"from memory", fromMemory, 0}} {
		t.Run(c.name, func(t *testing.T) {
			trace := &testserver.StatementLog{}
			d := testserver.NewSessionDeployment(t, testserver.Options{DatabaseURL: testdb.Postgres(t), Tracer: trace, Run: true, IntrospectionMaxAge: c.maxAge})
			a, ended := d.SignInAtBackend("alice"), d.SignIn("bob")
			signOut(d, ended)
			untilRevoked(d, 1)
			for _, asked := range []struct {
				name, token string
				reads       int
				active      bool
			}{
				{"an access token", a.Text("access_token"), c.reads, true},
				{"one of a session that has ended", ended.Text("access_token"), c.reads, false},
				{"a token without a session", d.MachineToken(), c.reads, true},
				{"a refresh token", a.Text("refresh_token"), 1, true},
				{"a session token", a.Text("session_token"), 1, true},
			} {
				var active bool
				if n := trace.Reads(func() { active = d.Active(asked.token) }); n != asked.reads || active != asked.active {
					t.Errorf("%s: %d reads, active %t; want %d, %t", asked.name, n, active, asked.reads, asked.active)
				}
			}
			for _, path := range []string{"/session", "/userinfo"} {
				if n := trace.Reads(func() { d.Want(200, "", d.Get(path, testserver.AsBearer(a))) }); n != 1 {
					t.Errorf("%s: %d reads", path, n)
				}
			}
		})
	}
}

// Responses are equal byte by byte, for every client and form.
func TestMemoryAndDatabaseAgree(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newWithMemory(t, testserver.Options{DatabaseURL: url})
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))
		reading := d.OtherNode()
		a := d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", map[string]any{
			"amr": []string{"pwd"}, "email": "alice@example.com", "app": "an app", "auth_time": d.Clock.Now().Unix() - 60,
		}), "audience", "https://api.example.com", "scope", "profile"))
		d.Clock.Advance(time.Second)
		raised := d.Want(200, "", d.StepUp(a.Text("refresh_token"), d.Proof("alice", "otp")))
		narrowed := d.Want(200, "", d.Refresh("", "web", raised.Text("refresh_token"), "scope", "profile"))
		back, dead := d.SignInAtBackend("bob"), d.SignInAtBackend("bob")
		machine, gone := d.MachineToken(), d.MachineToken()
		d.Want(200, "", d.Post("/revoke", []string{"token", dead.Text("access_token")}, testserver.AsBackend()))
		d.Want(200, "", d.Post("/revoke", []string{"token", gone}, testserver.AsBackend()))
		untilRevoked(d, 2)
		elsewhere := d.Want(200, "", d.Exchange("/t/acme", "web", d.Issuer.Token(d.URL+"/t/acme", "alice", nil)))

		tokens := map[string]string{
			"with everything": a.Text("access_token"), "raised": raised.Text("access_token"), "narrowed": narrowed.Text("access_token"),
			"the backend's": back.Text("access_token"), "without a session": machine,
			"of a session that ended": dead.Text("access_token"), "revoked, without a session": gone,
			"a refresh token": back.Text("refresh_token"), "a session token": back.Text("session_token"),
			"a session token that ended": dead.Text("session_token"), "another tenant's": elsewhere.Text("access_token"), "a word": "x",
		}
		compare := func(when string) (active int) {
			for name, token := range tokens {
				for _, as := range []string{"backend", "support"} {
					opt := map[string]testserver.Option{"backend": testserver.AsBackend(), "support": testserver.AsSupport()}[as]
					memory, read := d.Post("/introspect", []string{"token", token}, opt), reading.Post("/introspect", []string{"token", token}, opt)
					if memory.Status != 200 || string(memory.Body) != string(read.Body) {
						t.Errorf("%s, %s to %s: %d %s, read %d %s", when, name, as, memory.Status, memory.Body, read.Status, read.Body)
					}
					if memory.JSON["active"] == true {
						active++
					}
					signed, readSigned := d.Post("/introspect", []string{"token", token}, opt, testserver.Accept(testserver.IntrospectionJWT)), reading.Post("/introspect", []string{"token", token}, opt, testserver.Accept(testserver.IntrospectionJWT))
					if one, two := testserver.JWTPart(t, string(signed.Body), 1)["token_introspection"], testserver.JWTPart(t, string(readSigned.Body), 1)["token_introspection"]; fmt.Sprint(one) != fmt.Sprint(two) {
						t.Errorf("%s, %s to %s, signed: %v, read %v", when, name, as, one, two)
					}
				}
			}
			return active
		}
		if n := compare("at first"); n != 7 {
			t.Errorf("%d are active", n)
		}
		d.Clock.Advance(5 * time.Minute)
		untilRevoked(d, 1)
		if n := compare("when the access tokens have expired"); n != 2 {
			t.Errorf("%d are active then", n)
		}
	})
}

// ways are the ways to revoke alice's session at the client web, or a token of the
// client backend. at is the node that does it.
var ways = map[string]func(at *testserver.Deployment, a *testserver.Answer, machine string){
	"signing out": func(at *testserver.Deployment, a *testserver.Answer, _ string) { signOut(at, a) },
	"revoking the access token": func(at *testserver.Deployment, a *testserver.Answer, _ string) {
		at.Want(200, "", at.Post("/revoke", []string{"client_id", "web", "token", a.Text("access_token")}))
	},
	"the session API": func(at *testserver.Deployment, a *testserver.Answer, _ string) {
		at.Want(204, "", at.Delete("/session", testserver.AsBearer(a)))
	},
	"a back end": func(at *testserver.Deployment, a *testserver.Answer, _ string) {
		at.Want(204, "", at.Delete("/sessions?sub=alice", testserver.AsSupport()))
	},
	"reuse": func(at *testserver.Deployment, a *testserver.Answer, _ string) {
		next := at.Want(200, "", at.Refresh("", "web", a.Text("refresh_token")))
		at.Want(200, "", at.Refresh("", "web", next.Text("refresh_token")))
		at.Clock.Advance(11 * time.Second)
		at.Want(400, testserver.InvalidGrant, at.Refresh("", "web", a.Text("refresh_token")))
	},
	"a token without a session": func(at *testserver.Deployment, _ *testserver.Answer, machine string) {
		at.Want(200, "", at.Post("/revoke", []string{"token", machine}, testserver.AsBackend()))
	},
	"disabling the user":   changing(func(spec *settings.TenantSpec) { spec.Users = []settings.UserSpec{{Sub: "alice", Disabled: true}} }),
	"disabling the client": changing(func(spec *settings.TenantSpec) { spec.Clients[0].Disabled = true }),
	"disabling the issuer": changing(func(spec *settings.TenantSpec) { spec.TrustedIssuers[0].Disabled = true }),
}

func changing(f func(*settings.TenantSpec)) func(*testserver.Deployment, *testserver.Answer, string) {
	return func(at *testserver.Deployment, _ *testserver.Answer, _ string) {
		spec := testserver.SessionTenant(at.Issuer)
		f(&spec)
		at.Apply(spec)
	}
}

// enableAll enables everything that was disabled.
func enableAll(d *testserver.Deployment) {
	d.T.Helper()
	spec := testserver.SessionTenant(d.Issuer)
	spec.Users = []settings.UserSpec{{Sub: "alice"}}
	d.Apply(spec)
}

// revoked returns a token that one of the ways makes inactive.
func revoked(d *testserver.Deployment, way string) (a *testserver.Answer, machine, token string) {
	d.T.Helper()
	a, machine = d.SignIn("alice"), d.MachineToken()
	if way == "a token without a session" {
		return a, machine, machine
	}
	return a, machine, a.Text("access_token")
}

// This can fail mostly between a revocation and the node's next read, so each way is
// tried a few times.
func TestANodeSeesItsOwnRevocationsAtOnce(t *testing.T) {
	for name, revoke := range ways {
		t.Run(name, func(t *testing.T) {
			eachWithMemory(t, func(t *testing.T, d *testserver.Deployment) {
				for range 3 {
					a, machine, token := revoked(d, name)
					if !d.Active(token) {
						t.Fatal("inactive before")
					}
					d.Clock.Advance(time.Second)
					if revoke(d, a, machine); d.Active(token) {
						t.Error("active afterwards")
					}
					if enableAll(d); d.Active(token) {
						t.Error("active again")
					}
					d.Clock.Advance(time.Second) // a client token of the second in which a user was disabled is refused
				}
			})
		})
	}
}

func TestANodeSeesTheRevocationsOfAnother(t *testing.T) {
	for name, revoke := range ways {
		t.Run(name, func(t *testing.T) {
			d := newWithMemory(t, testserver.Options{DatabaseURL: testdb.Postgres(t)})
			a, machine, token := revoked(d, name)
			bystander := d.SignInAt("tv", "bob").Text("access_token")
			revoke(d.OtherNode(), a, machine)
			for deadline := time.Now().Add(waitTimeout); d.Active(token); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("still active")
				}
			}
			if disabledIssuer := name == "disabling the issuer"; d.Active(bystander) == disabledIssuer {
				t.Errorf("bob's session at another client is active: %t", disabledIssuer)
			}
		})
	}
}

// During an outage a node introspects from memory up to the configured age, and never
// longer.
func TestDuringAnOutageANodeIntrospectsFromFreshMemory(t *testing.T) {
	url := testdb.Postgres(t)
	proxy := testdb.NewProxy(t, url)
	d := newWithMemory(t, testserver.Options{DatabaseURL: proxy.URL()})
	whole := otherFollower(d, url)
	ended, lives, known := d.SignIn("alice").Text("access_token"), d.SignIn("bob").Text("access_token"), d.SignIn("carol")
	signOut(d, known)
	untilRevoked(d, 1)

	proxy.Cut()
	whole.Want(200, "", whole.Post("/revoke", []string{"client_id", "web", "token", ended}))
	if !d.Active(lives) || !d.Active(ended) || d.Active(known.Text("access_token")) {
		t.Error("fresh memory is not used")
	}
	d.Clock.Advance(fromMemory - time.Second)
	if !d.Active(lives) {
		t.Error("a second too early it does not answer")
	}
	d.Clock.Advance(time.Second)
	for _, token := range []string{ended, lives, known.Text("access_token")} {
		d.Want(http.StatusServiceUnavailable, "temporarily_unavailable", d.Introspect("", token))
	}
	proxy.Heal()
	for deadline := time.Now().Add(waitTimeout); d.Introspect("", lives).Status != 200; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not answer again")
		}
	}
	got := []bool{d.Active(ended), d.Active(lives), d.Active(known.Text("access_token"))}
	if !slices.Equal(got, []bool{false, true, false}) {
		t.Errorf("afterwards active: %v", got)
	}
}

func TestStaleMemoryIsReadAgain(t *testing.T) {
	trace := &testserver.StatementLog{}
	o := testserver.Options{DatabaseURL: testdb.Postgres(t), Tracer: trace, IntrospectionMaxAge: fromMemory}
	d := testserver.NewSessionDeployment(t, o) // it does not follow the log
	a, ended := d.SignIn("alice"), d.SignIn("bob")
	signOut(d, ended)
	for token, active := range map[string]bool{a.Text("access_token"): true, ended.Text("access_token"): false} {
		if n := trace.Reads(func() {
			if d.Active(token) != active {
				t.Errorf("active: %t", !active)
			}
		}); n != 1 {
			t.Errorf("%d reads", n)
		}
	}
}
