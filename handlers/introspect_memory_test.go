package handlers_test

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

// fromMemory is how old what a node knows may be in these tests.
const fromMemory = 2 * time.Second

// remembering is a server whose introspection answers from memory, with the
// clients of sessionTenant.
func remembering(t *testing.T, o testserver.Options) *world {
	o.Run, o.IntrospectionMaxAge = true, fromMemory
	return newSessionWorld(t, o)
}

func eachRemembering(t *testing.T, test func(t *testing.T, w *world)) {
	testdb.Each(t, func(t *testing.T, url string) { test(t, remembering(t, testserver.Options{DatabaseURL: url})) })
}

// reads counts the statements that look for a session or for a revoked token.
// A node that follows the log sends others all the time.
func (s *statements) reads(do func()) (n int) {
	for _, statement := range s.during(do) {
		if strings.Contains(statement, "from sessions where id") || strings.Contains(statement, "from revoked_tokens") {
			n++
		}
	}
	return n
}

func TestWhatIntrospectionReads(t *testing.T) {
	for _, c := range []struct {
		name   string
		maxAge time.Duration
		reads  int // for an access token
	}{{"by default", 0, 1}, {"from memory", fromMemory, 0}} {
		t.Run(c.name, func(t *testing.T) {
			trace := &statements{}
			w := newSessionWorld(t, testserver.Options{DatabaseURL: testdb.Postgres(t), Tracer: trace, Run: true, IntrospectionMaxAge: c.maxAge})
			a, ended := w.signInAtBackend("alice"), w.signIn("bob")
			w.signOut(ended)
			w.untilRevoked(1)
			for _, asked := range []struct {
				name, token string
				reads       int
				active      bool
			}{
				{"an access token", a.Text("access_token"), c.reads, true},
				{"one of a session that has ended", ended.Text("access_token"), c.reads, false},
				{"a token without a session", w.machineToken(), c.reads, true},
				{"a refresh token", a.Text("refresh_token"), 1, true},
				{"a session token", a.Text("session_token"), 1, true},
			} {
				var active bool
				if n := trace.reads(func() { active = w.active(asked.token) }); n != asked.reads || active != asked.active {
					t.Errorf("%s: %d reads, active %t; want %d, %t", asked.name, n, active, asked.reads, asked.active)
				}
			}
			for _, path := range []string{"/session", "/userinfo"} {
				if n := trace.reads(func() { w.want(200, "", w.Get(path, as(a))) }); n != 1 {
					t.Errorf("%s: %d reads", path, n)
				}
			}
		})
	}
}

// Byte by byte, whoever asks and however.
func TestMemoryAndDatabaseAnswerAlike(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		w := remembering(t, testserver.Options{DatabaseURL: url})
		w.Apply(testserver.Tenant("acme", w.issuer, testserver.Web()))
		reading := w.otherNode()
		a := w.want(200, "", w.Exchange("", "web", w.issuer.Token(w.URL, "alice", map[string]any{
			"amr": []string{"pwd"}, "email": "alice@example.com", "app": "an app", "auth_time": w.Clock.Now().Unix() - 60,
		}), "audience", "https://api.example.com", "scope", "profile"))
		w.Clock.Advance(time.Second)
		raised := w.want(200, "", w.stepUp(a.Text("refresh_token"), w.proof("alice", "otp")))
		narrowed := w.want(200, "", w.Refresh("", "web", raised.Text("refresh_token"), "scope", "profile"))
		back, dead := w.signInAtBackend("bob"), w.signInAtBackend("bob")
		machine, gone := w.machineToken(), w.machineToken()
		w.want(200, "", w.Post("/revoke", []string{"token", dead.Text("access_token")}, asBackend()))
		w.want(200, "", w.Post("/revoke", []string{"token", gone}, asBackend()))
		w.untilRevoked(2)
		elsewhere := w.want(200, "", w.Exchange("/t/acme", "web", w.issuer.Token(w.URL+"/t/acme", "alice", nil)))

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
					opt := map[string]testserver.Option{"backend": asBackend(), "support": asSupport()}[as]
					memory, read := w.Post("/introspect", []string{"token", token}, opt), reading.Post("/introspect", []string{"token", token}, opt)
					if memory.Status != 200 || string(memory.Body) != string(read.Body) {
						t.Errorf("%s, %s to %s: %d %s, read %d %s", when, name, as, memory.Status, memory.Body, read.Status, read.Body)
					}
					if memory.JSON["active"] == true {
						active++
					}
					signed, readSigned := w.Post("/introspect", []string{"token", token}, opt, accept(introspectionJWT)), reading.Post("/introspect", []string{"token", token}, opt, accept(introspectionJWT))
					if one, two := jwtPart(t, string(signed.Body), 1)["token_introspection"], jwtPart(t, string(readSigned.Body), 1)["token_introspection"]; fmt.Sprint(one) != fmt.Sprint(two) {
						t.Errorf("%s, %s to %s, signed: %v, read %v", when, name, as, one, two)
					}
				}
			}
			return active
		}
		if n := compare("at first"); n != 7 {
			t.Errorf("%d are active", n)
		}
		w.Clock.Advance(5 * time.Minute)
		w.untilRevoked(1)
		if n := compare("when the access tokens have expired"); n != 2 {
			t.Errorf("%d are active then", n)
		}
	})
}

// ways are those in which alice's session at the client web, or a token of the
// client backend, is revoked; at is the node that does it.
var ways = map[string]func(at *world, a *testserver.Answer, machine string){
	"signing out": func(at *world, a *testserver.Answer, _ string) { at.signOut(a) },
	"revoking the access token": func(at *world, a *testserver.Answer, _ string) {
		at.want(200, "", at.Post("/revoke", []string{"client_id", "web", "token", a.Text("access_token")}))
	},
	"the session API": func(at *world, a *testserver.Answer, _ string) { at.want(204, "", at.delete("/session", as(a))) },
	"a back end": func(at *world, a *testserver.Answer, _ string) {
		at.want(204, "", at.delete("/sessions?sub=alice", asSupport()))
	},
	"reuse": func(at *world, a *testserver.Answer, _ string) {
		next := at.want(200, "", at.Refresh("", "web", a.Text("refresh_token")))
		at.want(200, "", at.Refresh("", "web", next.Text("refresh_token")))
		at.Clock.Advance(11 * time.Second)
		at.want(400, refused, at.Refresh("", "web", a.Text("refresh_token")))
	},
	"a token without a session": func(at *world, _ *testserver.Answer, machine string) {
		at.want(200, "", at.Post("/revoke", []string{"token", machine}, asBackend()))
	},
	"disabling the user":   changing(func(spec *models.TenantSpec) { spec.Users = []models.UserSpec{{Sub: "alice", Disabled: true}} }),
	"disabling the client": changing(func(spec *models.TenantSpec) { spec.Clients[0].Disabled = true }),
	"disabling the issuer": changing(func(spec *models.TenantSpec) { spec.TrustedIssuers[0].Disabled = true }),
}

func changing(f func(*models.TenantSpec)) func(*world, *testserver.Answer, string) {
	return func(at *world, _ *testserver.Answer, _ string) {
		spec := sessionTenant(at.issuer)
		f(&spec)
		at.Apply(spec)
	}
}

// enableAll switches on again what was switched off.
func (w *world) enableAll() {
	w.t.Helper()
	spec := sessionTenant(w.issuer)
	spec.Users = []models.UserSpec{{Sub: "alice"}}
	w.Apply(spec)
}

// revoked is a token that stops being active by one of the ways.
func (w *world) revoked(way string) (a *testserver.Answer, machine, token string) {
	w.t.Helper()
	a, machine = w.signIn("alice"), w.machineToken()
	if way == "a token without a session" {
		return a, machine, machine
	}
	return a, machine, a.Text("access_token")
}

// Between a revocation and the next look of the node there is most of the time
// in which this could fail, so each is tried a few times.
func TestANodeKnowsAtOnceWhatItRevoked(t *testing.T) {
	for name, revoke := range ways {
		t.Run(name, func(t *testing.T) {
			eachRemembering(t, func(t *testing.T, w *world) {
				for range 3 {
					a, machine, token := w.revoked(name)
					if !w.active(token) {
						t.Fatal("inactive before")
					}
					w.Clock.Advance(time.Second)
					if revoke(w, a, machine); w.active(token) {
						t.Error("active afterwards")
					}
					if w.enableAll(); w.active(token) {
						t.Error("active again")
					}
				}
			})
		})
	}
}

func TestANodeLearnsWhatAnotherRevoked(t *testing.T) {
	for name, revoke := range ways {
		t.Run(name, func(t *testing.T) {
			w := remembering(t, testserver.Options{DatabaseURL: testdb.Postgres(t)})
			a, machine, token := w.revoked(name)
			bystander := w.signInAt("tv", "bob").Text("access_token")
			revoke(w.otherNode(), a, machine)
			for deadline := time.Now().Add(feedPatience); w.active(token); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("still active")
				}
			}
			if disabledIssuer := name == "disabling the issuer"; w.active(bystander) == disabledIssuer {
				t.Errorf("bob's session at another client is active: %t", disabledIssuer)
			}
		})
	}
}

// What cannot be looked at any more is told for as long as was asked for, and
// never longer.
func TestWithoutItsDatabaseANodeAnswersFromMemoryWhileThatIsFresh(t *testing.T) {
	url := testdb.Postgres(t)
	proxy := testdb.NewProxy(t, url)
	w := remembering(t, testserver.Options{DatabaseURL: proxy.URL()})
	whole := w.followingNode(url)
	ended, lives, known := w.signIn("alice").Text("access_token"), w.signIn("bob").Text("access_token"), w.signIn("carol")
	w.signOut(known)
	w.untilRevoked(1)

	proxy.Cut()
	whole.want(200, "", whole.Post("/revoke", []string{"client_id", "web", "token", ended}))
	if !w.active(lives) || !w.active(ended) || w.active(known.Text("access_token")) {
		t.Error("what is known and fresh is not told")
	}
	w.Clock.Advance(fromMemory - time.Second)
	if !w.active(lives) {
		t.Error("a second too early it does not answer")
	}
	w.Clock.Advance(time.Second)
	for _, token := range []string{ended, lives, known.Text("access_token")} {
		w.want(http.StatusServiceUnavailable, "temporarily_unavailable", w.Introspect("", token))
	}
	proxy.Heal()
	for deadline := time.Now().Add(feedPatience); w.Introspect("", lives).Status != 200; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not answer again")
		}
	}
	got := []bool{w.active(ended), w.active(lives), w.active(known.Text("access_token"))}
	if !slices.Equal(got, []bool{false, true, false}) {
		t.Errorf("afterwards active: %v", got)
	}
}

func TestWhatIsNotFreshIsRead(t *testing.T) {
	trace := &statements{}
	o := testserver.Options{DatabaseURL: testdb.Postgres(t), Tracer: trace, IntrospectionMaxAge: fromMemory}
	w := newSessionWorld(t, o) // it does not follow the log
	a, ended := w.signIn("alice"), w.signIn("bob")
	w.signOut(ended)
	for token, active := range map[string]bool{a.Text("access_token"): true, ended.Text("access_token"): false} {
		if n := trace.reads(func() {
			if w.active(token) != active {
				t.Errorf("active: %t", !active)
			}
		}); n != 1 {
			t.Errorf("%d reads", n)
		}
	}
}
