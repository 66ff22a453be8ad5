package testwire

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

const (
	logoutPath = "/backchannel-logout"
	providerRP = "client-id-at-the-provider"
)

// openIDProvider is an entry whose provider sends logout tokens.
func openIDProvider(i *testserver.Issuer) settings.IssuerSpec {
	e := i.Entry()
	e.TokenType, e.Audiences, e.BackchannelLogout = settings.TokenTypeIDToken, []string{providerRP}, true
	return e
}

// eachLogoutDeployment runs a test on both engines, with such a provider.
func eachLogoutDeployment(t *testing.T, test func(t *testing.T, d *testserver.Deployment)) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: url, Proxies: []string{"127.0.0.1"}})
		e := openIDProvider(d.Issuer)
		e.ID, e.SubjectPrefix = "provider", "p:"
		trusting(d, d.Issuer.Entry(), e)
		test(t, d)
	})
}

// idToken returns an ID token of the provider's session; empty: it has no sid.
func idToken(d *testserver.Deployment, sub, sid string) string {
	claims := map[string]any{}
	if sid != "" {
		claims["sid"] = sid
	}
	return d.Issuer.Token(providerRP, sub, claims)
}

func exchangeIDToken(d *testserver.Deployment, token string) *testserver.Answer {
	return d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeIDToken, "subject_token", token})
}

// logoutClaims are those of a valid logout token with these sid and sub.
func logoutClaims(d *testserver.Deployment, names map[string]any) map[string]any {
	now := d.Clock.Now().Unix()
	claims := map[string]any{
		"iss": d.Issuer.URL, "aud": providerRP, "jti": rand.Text(), "iat": now, "exp": now + 120,
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	maps.Copy(claims, names)
	return claims
}

func logOut(d *testserver.Deployment, token string, opts ...testserver.Option) *testserver.Answer {
	return d.Post(logoutPath, []string{"logout_token", token}, opts...)
}

func TestALogoutTokenEndsTheSessionsOfItsSidOrSub(t *testing.T) {
	eachLogoutDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		open := func(sub, sid string) *testserver.Answer {
			return d.Want(200, "", exchangeIDToken(d, idToken(d, sub, sid)))
		}
		live := func(a *testserver.Answer) bool { return d.Active(a.Text("access_token")) }
		a1, a2, b, none, bob := open("alice", "s1"), open("alice", "s1"), open("alice", "s2"), open("alice", ""), open("bob", "s3")
		otherEntry := d.SignIn("alice") // the same sub at another entry of the issuer
		out := d.Want(200, "", logOut(d, signed(t, d.Issuer, "logout+jwt", logoutClaims(d, map[string]any{"sid": "s1", "sub": "alice"}))))
		if out.Header.Get("Cache-Control") != "no-store" || len(out.Body) > 0 {
			t.Errorf("%v %s", out.Header, out.Body)
		}
		if live(a1) || live(a2) || !live(b) || !live(none) || !live(bob) || !live(otherEntry) {
			t.Errorf("after the logout of a sid: %t %t %t %t %t %t", live(a1), live(a2), live(b), live(none), live(bob), live(otherEntry))
		}
		if who := endedBy(t, d, a1); !strings.Contains(who, "issuer provider") || !strings.Contains(who, "backchannel-logout") {
			t.Errorf("ended by %s", who)
		}
		if r := d.Refresh("", "web", a1.Text("refresh_token")); r.Text("latchkey_end_reason") != "revoked_by_backend" {
			t.Errorf("a refresh: %s", r.Body)
		}
		d.Want(200, "", logOut(d, signed(t, d.Issuer, "application/LOGOUT+jwt", logoutClaims(d, map[string]any{"sub": "alice", "aud": []string{providerRP}}))))
		if live(b) || live(none) || !live(bob) || !live(otherEntry) {
			t.Errorf("after the logout of a sub: %t %t %t %t", live(b), live(none), live(bob), live(otherEntry))
		}
		// Nothing is left to end: the logout has succeeded.
		d.Want(200, "", logOut(d, signed(t, d.Issuer, "logout+jwt", logoutClaims(d, map[string]any{"sub": "nobody"}))))
		d.Clock.Advance(time.Second)
		open("alice", "s4")
	})
}

// logoutFaults are tokens that are no logout tokens of alice's session s1.
func logoutFaults(t *testing.T, d *testserver.Deployment) map[string]string {
	claims := logoutClaims(d, map[string]any{"sid": "s1", "sub": "alice"})
	now := d.Clock.Now().Unix()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change map[string]any) string {
		return signed(t, d.Issuer, "logout+jwt", changed(claims, changed(map[string]any{"jti": rand.Text()}, change)))
	}
	without := func(name string) string {
		c := maps.Clone(claims)
		delete(c, name)
		return signed(t, d.Issuer, "logout+jwt", c)
	}
	stranger := testserver.NewIssuer(t, d.Clock)
	const event = "http://schemas.openid.net/event/backchannel-logout"
	return map[string]string{
		"an ID token":                      idToken(d, "alice", "s1"),
		"typ JWT":                          signed(t, d.Issuer, "JWT", claims),
		"no typ":                           signed(t, d.Issuer, "", claims),
		"another typ":                      signed(t, d.Issuer, "secevent+jwt", claims),
		"alg none":                         testserver.Forge(`{"alg":"none","typ":"logout+jwt"}`, string(payload), func(string) []byte { return []byte("x") }),
		"a MAC with the public key":        testserver.Forge(`{"alg":"HS256","kid":"test-key","typ":"logout+jwt"}`, string(payload), testserver.HS256(d.Issuer.JWKS())),
		"another key":                      testserver.Forge(`{"alg":"ES256","kid":"test-key","typ":"logout+jwt"}`, string(payload), testserver.ES256(testserver.NewES256Key(t))),
		"another issuer":                   signed(t, stranger, "logout+jwt", changed(claims, map[string]any{"iss": stranger.URL})),
		"another issuer's key":             signed(t, stranger, "logout+jwt", claims),
		"no iss":                           without("iss"),
		"no aud":                           without("aud"),
		"an empty aud":                     with(map[string]any{"aud": []string{}}),
		"another aud":                      with(map[string]any{"aud": "another-client"}),
		"a second aud":                     with(map[string]any{"aud": []string{providerRP, "another-client"}}),
		"no iat":                           without("iat"),
		"issued in the future":             with(map[string]any{"iat": now + 31}),
		"no exp":                           without("exp"),
		"expired":                          with(map[string]any{"iat": now - 200, "exp": now - 31}),
		"a life of more than 24 hours":     with(map[string]any{"exp": now + 86401}),
		"no jti":                           without("jti"),
		"no events":                        without("events"),
		"events that are a list":           with(map[string]any{"events": []string{event}}),
		"events without the logout":        with(map[string]any{"events": map[string]any{"https://example.com/other": map[string]any{}}}),
		"a logout event that is no object": with(map[string]any{"events": map[string]any{event: true}}),
		"a nonce":                          with(map[string]any{"nonce": "n"}),
		"a nonce that is null":             signed(t, d.Issuer, "logout+jwt", func() map[string]any { c := maps.Clone(claims); c["nonce"] = nil; return c }()),
		"neither sid nor sub":              signed(t, d.Issuer, "logout+jwt", changed(claims, map[string]any{"sid": nil, "sub": nil})),
		"a sid that is no text":            with(map[string]any{"sid": 1}),
		"an empty sid":                     with(map[string]any{"sid": ""}),
		"a sub that is a list":             with(map[string]any{"sub": []string{"alice"}, "sid": nil}),
		"a sid of 300 bytes":               with(map[string]any{"sid": strings.Repeat("s", 300)}),
		"no JWT":                           "x.y.z",
	}
}

func TestATokenThatIsNoLogoutTokenEndsNothing(t *testing.T) {
	eachLogoutDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.Want(200, "", exchangeIDToken(d, idToken(d, "alice", "s1")))
		d.Want(200, "", exchangeIDToken(d, idToken(d, "bob", "s2")))
		spent := signed(t, d.Issuer, "logout+jwt", logoutClaims(d, map[string]any{"sid": "s2"}))
		d.Want(200, "", logOut(d, spent))
		tokens := logoutFaults(t, d)
		tokens["used before"] = spent
		for what, token := range tokens {
			r := logOut(d, token, fromNewAddress())
			if r.Status != 400 || r.Error() != "invalid_request" || r.Text("latchkey_reason") != "revocation_token_rejected" || r.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %s", what, r.Status, r.Body)
			}
			if !d.Active(a.Text("access_token")) {
				t.Fatalf("%s has ended the session", what)
			}
		}
		good := signed(t, d.Issuer, "logout+jwt", logoutClaims(d, map[string]any{"sid": "s1"}))
		for what, r := range map[string]*testserver.Answer{
			"no token":           d.Post(logoutPath, nil),
			"two tokens":         d.Post(logoutPath, []string{"logout_token", good, "logout_token", good}),
			"JSON":               d.Do("POST", logoutPath, strings.NewReader(`{"logout_token":"`+good+`"}`), testserver.Header("Content-Type", "application/json")),
			"a token of 20 KB":   logOut(d, strings.Repeat("x", 20_000)),
			"a token in the URL": d.Post(logoutPath+"?logout_token="+good, nil),
			"a huge form":        logOut(d, strings.Repeat("x", 70_000)),
			"a browser":          logOut(d, good, testserver.Origin(testserver.OriginWeb)),
		} {
			if r.Status < 400 || r.Status >= 500 || r.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %s", what, r.Status, r.Body)
			}
		}
		if !d.Active(a.Text("access_token")) {
			t.Error("the session has ended")
		}
		d.Want(200, "", logOut(d, good))
		if d.Active(a.Text("access_token")) {
			t.Error("the session is live")
		}
	})
}

// Some providers send logout tokens that have the type of ID tokens, or none.
func TestUntypedLogoutTokensNeedASettingAndOpenNoSession(t *testing.T) {
	eachLogoutDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		untyped := openIDProvider(d.Issuer)
		untyped.ID, untyped.SubjectPrefix, untyped.UntypedLogoutTokens = "provider", "p:", true
		for _, typ := range []string{"", "JWT"} {
			claims := logoutClaims(d, map[string]any{"sub": "alice"})
			wantRefusal(t, "a logout token as an ID token", 400, "subject_token_typ", exchangeIDToken(d, signed(t, d.Issuer, typ, claims)))
			wantRefusal(t, "an untyped logout token", 400, "revocation_token_rejected", logOut(d, signed(t, d.Issuer, typ, claims)))
			trusting(d, d.Issuer.Entry(), untyped)
			a := d.Want(200, "", exchangeIDToken(d, idToken(d, "alice", "")))
			d.Want(200, "", logOut(d, signed(t, d.Issuer, typ, claims)))
			if d.Active(a.Text("access_token")) {
				t.Error("the session is live")
			}
			wantRefusal(t, "an ID token", 400, "revocation_token_rejected", logOut(d, idToken(d, "alice", "")))
			untyped.UntypedLogoutTokens = false
			trusting(d, d.Issuer.Entry(), untyped)
			untyped.UntypedLogoutTokens = true
			d.Clock.Advance(time.Second)
		}
		trusting(d, d.Issuer.Entry())
	})
}

func TestNoLogoutWithoutTheSetting(t *testing.T) {
	eachLogoutDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		off := openIDProvider(d.Issuer)
		off.ID, off.SubjectPrefix, off.BackchannelLogout = "provider", "p:", false
		trusting(d, d.Issuer.Entry(), off)
		a := d.Want(200, "", exchangeIDToken(d, idToken(d, "alice", "s1")))
		wantRefusal(t, "a logout token", 404, "not_found", logOut(d, signed(t, d.Issuer, "logout+jwt", logoutClaims(d, map[string]any{"sub": "alice"}))))
		if !d.Active(a.Text("access_token")) {
			t.Error("the session has ended")
		}
	})
}

// A logout may overtake the exchange of the ID token that it is about, even at the
// first sign-in of a user.
func TestALogoutThatOvertakesItsSignInLeavesNoSession(t *testing.T) {
	eachLogoutDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		for name, names := range map[string]map[string]any{"sid": {"sid": "s9"}, "sub": {"sub": "carol"}} {
			token := idToken(d, "carol", "s9")
			d.Want(200, "", logOut(d, signed(t, d.Issuer, "logout+jwt", logoutClaims(d, names))))
			wantRefusal(t, "after the logout of a "+name, 400, beforeRevocation, exchangeIDToken(d, token))
			d.Clock.Advance(2 * time.Second)
			d.Want(200, "", exchangeIDToken(d, idToken(d, "carol", "s-"+name)))
			d.Clock.Advance(2 * time.Second)
		}
	})
}

func TestNoSessionOutlivesALogoutDuringItsExchange(t *testing.T) {
	eachLogoutDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		for i := range 20 {
			sub, sid := fmt.Sprint("user", i/4), fmt.Sprint("s", i)
			names := map[string]any{"sid": sid}
			if i%2 == 1 {
				names = map[string]any{"sub": sub}
			}
			token, logout := idToken(d, sub, sid), signed(t, d.Issuer, "logout+jwt", logoutClaims(d, names))
			answers := testserver.InParallel(2, func(i int) *testserver.Answer {
				if i == 0 {
					return logOut(d, logout)
				}
				return exchangeIDToken(d, token)
			})
			d.Want(200, "", answers[0])
			if access := answers[1].Text("access_token"); access != "" && d.Active(access) {
				t.Fatalf("%v: the session is live", names)
			}
			d.Clock.Advance(2 * time.Second)
		}
	})
}

// The memory of a logout lasts for as long as an ID token from before is accepted.
func TestALogoutIsForgottenWhenItNoLongerMatters(t *testing.T) {
	eachLogoutDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		db := testserver.OpenDatabase(t, d.DatabaseURL)
		rows := func() (n int) {
			if err := db.QueryRow("SELECT count(*) FROM upstream_logouts").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		d.Want(200, "", exchangeIDToken(d, idToken(d, "alice", "s1")))
		d.Want(200, "", logOut(d, signed(t, d.Issuer, "logout+jwt", logoutClaims(d, map[string]any{"sid": "s2"}))))
		before := rows()
		d.Clock.Advance(24 * time.Hour)
		if _, err := d.Store.Prune(t.Context(), d.Store.Now()); err != nil {
			t.Fatal(err)
		}
		if n := rows(); before != 3 || n != 1 {
			t.Errorf("%d rows, then %d", before, n)
		}
		d.Clock.Advance(10 * time.Minute)
		if _, err := d.Store.Prune(t.Context(), d.Store.Now()); err != nil {
			t.Fatal(err)
		}
		if n := rows(); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

// What only some entries need costs the exchanges of others nothing.
func TestOnlyEntriesThatMayRevokeCostMoreStatements(t *testing.T) {
	trace := &testserver.StatementLog{}
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.Postgres(t), Tracer: trace})
	for revokes, want := range map[bool]int{false: 4, true: 6} { // the name of the user upstream, and its user here
		e := d.Issuer.Entry()
		if revokes {
			e = revoking(e)
		}
		trusting(d, e)
		d.SignIn("alice")
		if sent := trace.During(func() { d.SignIn("alice") }); len(sent) != want {
			t.Errorf("%t: %d statements:\n%s", revokes, len(sent), strings.Join(sent, "\n"))
		}
	}
}
