package testwire

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

const (
	revocationPath   = "/global-token-revocation"
	revocationTyp    = "global-token-revocation+jwt"
	revocationCaller = "0oa-universal-logout"
)

// revoking lets the identity provider of an entry sign users out.
func revoking(e settings.IssuerSpec) settings.IssuerSpec {
	e.MayRevoke, e.RevocationTyp, e.RevocationCallers = true, revocationTyp, []string{revocationCaller}
	return e
}

// trusting applies the tenant default with these entries.
func trusting(d *testserver.Deployment, entries ...settings.IssuerSpec) {
	tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
	for i := range entries {
		entries[i].ID = entries[i].EntryID()
	}
	tenant.TrustedIssuers = entries
	d.Apply(tenant)
}

// eachRevokingDeployment runs a test on both engines, with an identity provider that
// may sign users out.
func eachRevokingDeployment(t *testing.T, test func(t *testing.T, d *testserver.Deployment)) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: url, Proxies: []string{"127.0.0.1"}})
		trusting(d, revoking(d.Issuer.Entry()))
		test(t, d)
	})
}

// fromNewAddress sends a request from an address of its own, which has sent no wrong
// tokens before.
func fromNewAddress() testserver.Option {
	return testserver.Header("X-Forwarded-For", fmt.Sprintf("10.%d.%d.%d", mathrand.N(256), mathrand.N(256), mathrand.N(256)))
}

// signed signs claims with the issuer's key under a header typ; empty: none.
func signed(t *testing.T, i *testserver.Issuer, typ string, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	if typ != "" {
		typ = `,"typ":"` + typ + `"`
	}
	return testserver.Forge(`{"alg":"ES256","kid":"test-key"`+typ+`}`, string(payload), testserver.ES256(i.Key.(*ecdsa.PrivateKey)))
}

// changed returns claims with some replaced; nil removes one.
func changed(claims, change map[string]any) map[string]any {
	claims = maps.Clone(claims)
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// revocationClaims are those of a valid token for global token revocation.
func revocationClaims(d *testserver.Deployment) map[string]any {
	now := d.Clock.Now().Unix()
	return map[string]any{"iss": d.Issuer.URL, "sub": revocationCaller, "aud": d.URL + revocationPath, "jti": rand.Text(), "iat": now, "exp": now + 300}
}

func revocationToken(t *testing.T, d *testserver.Deployment, change map[string]any) string {
	return signed(t, d.Issuer, revocationTyp, changed(revocationClaims(d), change))
}

// revokeWith sends a request for global token revocation.
func revokeWith(d *testserver.Deployment, token, body string, opts ...testserver.Option) *testserver.Answer {
	opts = append([]testserver.Option{testserver.Header("Content-Type", "application/json"), testserver.Authorization("Bearer " + token)}, opts...)
	return d.Do("POST", revocationPath, strings.NewReader(body), opts...)
}

func issSub(iss, sub string) string {
	return fmt.Sprintf(`{"sub_id":{"format":"iss_sub","iss":%q,"sub":%q}}`, iss, sub)
}

func opaque(sub string) string { return fmt.Sprintf(`{"sub_id":{"format":"opaque","id":%q}}`, sub) }

// live counts the live sessions of a user.
func live(t *testing.T, d *testserver.Deployment, sub string) int {
	t.Helper()
	n, err := d.Store.CountLive(t.Context(), "default", sub, "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAnIdentityProviderSignsItsUserOutEverywhere(t *testing.T) {
	mapped := func(e settings.IssuerSpec) settings.IssuerSpec {
		e.Subject, e.SubjectPrefix = "'mail:' + token.email", "corp:"
		return e
	}
	for name, c := range map[string]struct {
		entry func(settings.IssuerSpec) settings.IssuerSpec
		sub   string // here
		body  func(d *testserver.Deployment) string
	}{
		"by its own sub": {func(e settings.IssuerSpec) settings.IssuerSpec { return e }, "alice",
			func(d *testserver.Deployment) string { return issSub(d.Issuer.URL, "alice") }},
		"by its own sub, which is mapped": {mapped, "corp:mail:alice@example.com",
			func(d *testserver.Deployment) string { return issSub(d.Issuer.URL, "alice") }},
		"by the sub here": {mapped, "corp:mail:alice@example.com",
			func(d *testserver.Deployment) string { return opaque("corp:mail:alice@example.com") }},
	} {
		t.Run(name, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				trusting(d, c.entry(revoking(d.Issuer.Entry())))
				token := func(sub string) string {
					return d.Issuer.Token(d.URL, sub, map[string]any{"email": sub + "@example.com"})
				}
				signIn := func(sub string) *testserver.Answer { return d.Want(200, "", d.Exchange("", "web", token(sub))) }
				a, b, bob := signIn("alice"), signIn("alice"), signIn("bob")
				before := token("alice")
				d.Want(204, "", revokeWith(d, revocationToken(t, d, nil), c.body(d)))
				for _, session := range []*testserver.Answer{a, b} {
					refused := d.Refresh("", "web", session.Text("refresh_token"))
					if refused.Text("latchkey_end_reason") != "revoked_by_backend" {
						t.Errorf("a refresh: %s", refused.Body)
					}
					if d.Active(session.Text("access_token")) {
						t.Error("an access token is active")
					}
					if who := endedBy(t, d, session); !strings.Contains(who, revocationCaller) || !strings.Contains(who, "issuer ") {
						t.Errorf("ended by %s", who)
					}
				}
				d.Want(200, "", d.Refresh("", "web", bob.Text("refresh_token")))
				wantRefusal(t, "a client token from before", 400, beforeRevocation, d.Exchange("", "web", before))
				d.Clock.Advance(time.Second)
				signIn("alice")
				if n := live(t, d, c.sub); n != 1 {
					t.Errorf("%d sessions are live", n)
				}
			})
		})
	}
}

// endedBy returns who ended a session, as its event has it.
func endedBy(t *testing.T, d *testserver.Deployment, session *testserver.Answer) string {
	t.Helper()
	id, err := models.ParseSessionID(session.Text("session_id"))
	if err != nil {
		t.Fatal(err)
	}
	events, err := d.Store.SessionEvents(t.Context(), "default", id)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Type == models.EventSessionEnded {
			return fmt.Sprint(e.Details["actor"])
		}
	}
	return ""
}

// wantNothingEnded runs do, which must leave alice's only session and her client
// tokens as they are.
func wantNothingEnded(t *testing.T, d *testserver.Deployment, what string, do func() *testserver.Answer, check func(a *testserver.Answer)) {
	t.Helper()
	token := d.Issuer.Token(d.URL, "alice", nil)
	before := live(t, d, "alice")
	a := do()
	check(a)
	if n := live(t, d, "alice"); n != before {
		t.Errorf("%s: %d of %d sessions are live: %d %s", what, n, before, a.Status, a.Body)
	}
	if x := d.Exchange("", "web", token); x.Status != 200 {
		t.Errorf("%s: a client token: %s", what, x.Body)
	}
}

func TestATokenThatIsNoRevocationTokenEndsNothing(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		d.SignIn("alice")
		claims := revocationClaims(d)
		now := d.Clock.Now().Unix()
		payload, _ := json.Marshal(claims)
		with := func(change map[string]any) string { return revocationToken(t, d, change) }
		spent := with(nil)
		d.SignIn("bob")
		d.Want(204, "", revokeWith(d, spent, issSub(d.Issuer.URL, "bob")))
		stranger := testserver.NewIssuer(t, d.Clock)
		for what, token := range map[string]string{
			"a client token":                     d.Issuer.Token(d.URL, "alice", nil),
			"a client token for this endpoint":   d.Issuer.Token(d.URL+revocationPath, revocationCaller, nil),
			"typ JWT":                            signed(t, d.Issuer, "JWT", claims),
			"no typ":                             signed(t, d.Issuer, "", claims),
			"an empty type after application/":   signed(t, d.Issuer, "application/", claims),
			"the typ of an access token":         signed(t, d.Issuer, "at+jwt", claims),
			"the typ of a security event":        signed(t, d.Issuer, "secevent+jwt", claims),
			"alg none":                           testserver.Forge(`{"alg":"none","typ":"`+revocationTyp+`"}`, string(payload), func(string) []byte { return []byte("x") }),
			"a MAC with the public key":          testserver.Forge(`{"alg":"HS256","kid":"test-key","typ":"`+revocationTyp+`"}`, string(payload), testserver.HS256(d.Issuer.JWKS())),
			"another key":                        testserver.Forge(`{"alg":"ES256","kid":"test-key","typ":"`+revocationTyp+`"}`, string(payload), testserver.ES256(testserver.NewES256Key(t))),
			"an unknown kid":                     testserver.Forge(`{"alg":"ES256","kid":"other","typ":"`+revocationTyp+`"}`, string(payload), testserver.ES256(d.Issuer.Key.(*ecdsa.PrivateKey))),
			"another issuer's key":               signed(t, stranger, revocationTyp, claims),
			"another issuer":                     signed(t, stranger, revocationTyp, changed(claims, map[string]any{"iss": stranger.URL})),
			"this server as the issuer":          with(map[string]any{"iss": d.URL}),
			"no iss":                             with(map[string]any{"iss": nil}),
			"no aud":                             with(map[string]any{"aud": nil}),
			"an empty aud":                       with(map[string]any{"aud": []string{}}),
			"the tenant as aud":                  with(map[string]any{"aud": d.URL}),
			"another tenant's endpoint as aud":   with(map[string]any{"aud": d.URL + "/t/acme" + revocationPath}),
			"a slash after aud":                  with(map[string]any{"aud": d.URL + revocationPath + "/"}),
			"a second aud":                       with(map[string]any{"aud": []string{d.URL + revocationPath, "https://elsewhere.example.com"}}),
			"the same aud twice":                 with(map[string]any{"aud": []string{d.URL + revocationPath, d.URL + revocationPath}}),
			"no exp":                             with(map[string]any{"exp": nil}),
			"exp as text":                        with(map[string]any{"exp": "soon"}),
			"expired":                            with(map[string]any{"iat": now - 200, "exp": now - 31}),
			"a life of more than 5 minutes":      with(map[string]any{"exp": now + 301}),
			"exp before iat":                     with(map[string]any{"iat": now + 20, "exp": now + 10}),
			"issued more than 5 minutes ago":     with(map[string]any{"iat": now - 331, "exp": now - 31}),
			"no iat":                             with(map[string]any{"iat": nil}),
			"issued in the future":               with(map[string]any{"iat": now + 31, "exp": now + 60}),
			"not valid yet":                      with(map[string]any{"nbf": now + 31}),
			"no jti":                             with(map[string]any{"jti": nil}),
			"an empty jti":                       with(map[string]any{"jti": ""}),
			"a jti that is no text":              with(map[string]any{"jti": 1}),
			"used before":                        spent,
			"no JWT":                             "x.y.z",
			"a token of 20 KB":                   with(map[string]any{"x": strings.Repeat("x", 20_000)}),
			"one of the server's refresh tokens": "lk_rt_" + strings.Repeat("A", 96),
		} {
			wantNothingEnded(t, d, what, func() *testserver.Answer {
				return revokeWith(d, token, issSub(d.Issuer.URL, "alice"), fromNewAddress())
			}, func(a *testserver.Answer) {
				if a.Status != 401 || a.Error() != "invalid_token" || a.Text("latchkey_reason") != "revocation_token_rejected" || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer ") {
					t.Errorf("%s: %d %s", what, a.Status, a.Body)
				}
			})
		}
		wantRefusal(t, "no token", 401, "token_missing", d.Do("POST", revocationPath, strings.NewReader(opaque("alice")), testserver.Header("Content-Type", "application/json")))
		wantRefusal(t, "a browser", 403, "origin_not_listed", revokeWith(d, with(nil), opaque("alice"), testserver.Origin(testserver.OriginWeb)))
		for _, caller := range []any{"somebody", nil, "", 1} {
			wantRefusal(t, fmt.Sprint("caller ", caller), 403, "revocation_caller_not_allowed", revokeWith(d, with(map[string]any{"sub": caller}), opaque("alice")))
		}
		if got := d.Get("/.well-known/oauth-authorization-server").Text("global_token_revocation_endpoint"); got != d.URL+revocationPath {
			t.Errorf("global_token_revocation_endpoint: %q", got)
		}
		trusting(d, d.Issuer.Entry())
		if got := d.Get("/.well-known/oauth-authorization-server").JSON["global_token_revocation_endpoint"]; got != nil {
			t.Errorf("global_token_revocation_endpoint: %q", got)
		}
		wantRefusal(t, "no entry with may_revoke", 404, "not_found", revokeWith(d, with(nil), opaque("alice")))
		disabled := revoking(d.Issuer.Entry())
		disabled.Disabled = true
		trusting(d, disabled)
		wantRefusal(t, "a disabled entry", 404, "not_found", revokeWith(d, with(nil), opaque("alice")))
	})
}

func TestARevocationThatNamesNobodyEndsNothing(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		corp := revoking(d.Issuer.Entry())
		other := testserver.NewIssuer(t, d.Clock)
		home := other.Entry()
		corp.SubjectPrefix = "corp:"
		trusting(d, corp, home)
		d.Want(200, "", d.Exchange("", "web", other.Token(d.URL, "alice", nil)))
		d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil)))
		for what, c := range map[string]struct {
			body   string
			status int
		}{
			"no body":                           {"", 400},
			"no JSON":                           {"sub_id", 400},
			"a list":                            {"[]", 400},
			"data after it":                     {opaque("corp:alice") + "{}", 400},
			"a repeated member":                 {`{"sub_id":{"format":"opaque","id":"corp:bob"},"sub_id":{"format":"opaque","id":"corp:alice"}}`, 400},
			"a repeated member of sub_id":       {`{"sub_id":{"format":"opaque","id":"corp:bob","id":"corp:alice"}}`, 400},
			"a member in another case":          {`{"SUB_ID":{"format":"opaque","id":"corp:alice"}}`, 400},
			"no sub_id":                         {`{}`, 400},
			"sub_id as text":                    {`{"sub_id":"corp:alice"}`, 400},
			"no format":                         {`{"sub_id":{"id":"corp:alice"}}`, 400},
			"an unknown format":                 {`{"sub_id":{"format":"phone_number","phone_number":"+1"}}`, 400},
			"no id":                             {`{"sub_id":{"format":"opaque"}}`, 400},
			"an id that is no text":             {`{"sub_id":{"format":"opaque","id":1}}`, 400},
			"NUL in an id":                      {`{"sub_id":{"format":"opaque","id":"corp:\u0000"}}`, 400},
			"no iss":                            {`{"sub_id":{"format":"iss_sub","sub":"alice"}}`, 400},
			"no sub":                            {`{"sub_id":{"format":"iss_sub","iss":"` + d.Issuer.URL + `"}}`, 400},
			"70 KB":                             {opaque(strings.Repeat("a", 70_000)), 413},
			"nested deeply":                     {`{"sub_id":` + strings.Repeat(`{"a":`, 50) + "1" + strings.Repeat("}", 51), 400},
			"a user who does not exist":         {opaque("corp:bob"), 404},
			"a user of another namespace":       {opaque("alice"), 404},
			"the sub of another issuer's user":  {issSub(other.URL, "alice"), 404},
			"an unknown sub":                    {issSub(d.Issuer.URL, "bob"), 404},
			"a client id":                       {opaque("backend"), 404},
			"the prefix alone":                  {opaque("corp:"), 404},
			"the user of a sub with the prefix": {issSub(d.Issuer.URL, "corp:alice"), 404},
		} {
			a := revokeWith(d, revocationToken(t, d, nil), c.body)
			if a.Status != c.status || c.status == 404 && a.Text("latchkey_reason") != "revocation_user_unknown" {
				t.Errorf("%s: %d %s, want %d", what, a.Status, a.Body, c.status)
			}
		}
		d.Want(400, "invalid_request", revokeWith(d, revocationToken(t, d, nil), opaque("corp:alice"), testserver.Header("Content-Type", "text/plain")))
		if alice, corp := live(t, d, "alice"), live(t, d, "corp:alice"); alice != 1 || corp != 1 {
			t.Errorf("%d and %d sessions are live", alice, corp)
		}
		d.Want(204, "", revokeWith(d, revocationToken(t, d, nil), issSub(d.Issuer.URL, "alice")))
		if alice, corp := live(t, d, "alice"), live(t, d, "corp:alice"); alice != 1 || corp != 0 {
			t.Errorf("%d and %d sessions are live", alice, corp)
		}
	})
}

// A request that failed may be sent again with its token; one that succeeded may not.
func TestARevocationTokenIsUsedOnce(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		token := revocationToken(t, d, nil)
		wantRefusal(t, "before the first sign-in", 404, "revocation_user_unknown", revokeWith(d, token, opaque("alice")))
		d.SignIn("alice")
		answers := testserver.InParallel(8, func(int) *testserver.Answer { return revokeWith(d, token, opaque("alice")) })
		succeeded := len(slices.DeleteFunc(answers, func(a *testserver.Answer) bool { return a.Status != 204 }))
		if succeeded != 1 {
			t.Errorf("%d requests succeeded", succeeded)
		}
		// A client token may have the same jti.
		claims := revocationClaims(d)
		d.Want(204, "", revokeWith(d, signed(t, d.Issuer, "APPLICATION/"+strings.ToUpper(revocationTyp), claims), opaque("alice")))
		d.Clock.Advance(time.Second)
		d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", map[string]any{"jti": claims["jti"]})))
	})
}

func TestARevocationTokenIsNoClientToken(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		for what, token := range map[string]string{
			"a revocation token":               revocationToken(t, d, nil),
			"a revocation token for the token": revocationToken(t, d, map[string]any{"aud": d.URL}),
			"with typ JWT":                     signed(t, d.Issuer, "JWT", revocationClaims(d)),
			"with both audiences":              signed(t, d.Issuer, "JWT", changed(revocationClaims(d), map[string]any{"aud": []string{d.URL, d.URL + revocationPath}})),
		} {
			if a := d.Exchange("", "web", token); a.Status != 400 {
				t.Errorf("%s: %d %s", what, a.Status, a.Body)
			}
		}
	})
}

// Entries of one issuer are one identity provider.
func TestARevocationReachesEveryEntryOfItsIssuer(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a, b := revoking(d.Issuer.Entry()), revoking(d.Issuer.Entry())
		a.ID, b.ID, b.Audiences, b.SubjectPrefix = a.EntryID(), "b", []string{"https://b.example.com"}, "b:"
		trusting(d, a, b)
		d.SignIn("alice")
		d.Want(200, "", d.Exchange("", "web", d.Issuer.Token("https://b.example.com", "alice", nil)))
		d.Want(204, "", revokeWith(d, revocationToken(t, d, nil), issSub(d.Issuer.URL, "alice")))
		if n := live(t, d, "alice") + live(t, d, "b:alice"); n != 0 {
			t.Errorf("%d sessions are live", n)
		}
	})
}

// Once a revocation has succeeded, no session from before is live, not even one whose
// exchange was in progress.
func TestNoSessionOutlivesARevocationDuringItsExchange(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		for i := range 20 {
			sub := fmt.Sprint("user", i/2) // the first exchange of a user, and the second
			client, revoke := d.Issuer.Token(d.URL, sub, nil), revocationToken(t, d, nil)
			answers := testserver.InParallel(2, func(i int) *testserver.Answer {
				if i == 0 {
					return revokeWith(d, revoke, issSub(d.Issuer.URL, sub))
				}
				return d.Exchange("", "web", client)
			})
			if n := live(t, d, sub); answers[0].Status == 204 && n > 0 {
				t.Fatalf("%d sessions are live", n)
			}
			d.Clock.Advance(2 * time.Second)
		}
	})
}

// The clock of an identity provider may be ahead.
func TestARevocationCountsFromTheClockOfItsIssuer(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		d.SignIn("alice")
		ahead := d.Clock.Now().Unix() + 20
		before := d.Issuer.Token(d.URL, "alice", map[string]any{"iat": ahead - 1, "exp": ahead + 60})
		d.Want(204, "", revokeWith(d, revocationToken(t, d, map[string]any{"iat": ahead, "exp": ahead + 300}), opaque("alice")))
		wantRefusal(t, "a client token from before", 400, beforeRevocation, d.Exchange("", "web", before))
		d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", map[string]any{"iat": ahead + 1, "exp": ahead + 60})))
	})
}

func TestManyWrongRevocationTokensAreThrottled(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		d.SignIn("alice")
		for range 10 {
			d.Want(401, "invalid_token", revokeWith(d, "x.y.z", opaque("alice")))
		}
		wantRefusal(t, "another", 429, "too_many_failures", revokeWith(d, "x.y.z", opaque("alice")))
		d.Want(204, "", revokeWith(d, revocationToken(t, d, nil), opaque("alice")))
	})
}

// While the database is unavailable, the server confirms no sign-out.
func TestARevocationIsNotConfirmedDuringAnOutage(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		d.SignIn("alice")
		token := revocationToken(t, d, nil)
		d.Store.Close()
		if a := revokeWith(d, token, opaque("alice")); a.Status < 500 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
}

func TestARevocationFindsUsersByEmail(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		other := testserver.NewIssuer(t, d.Clock)
		corp, home := revoking(d.Issuer.Entry()), other.Entry()
		corp.SubjectPrefix = "corp:"
		corp.UserAttributes = map[string]string{"email": "token.email"}
		home.UserAttributes = corp.UserAttributes
		tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
		tenant.TrustedIssuers, tenant.SearchableAttributes = []settings.IssuerSpec{corp, home}, []string{"email"}
		d.Apply(tenant)
		byEmail := func(email string) *testserver.Answer {
			return revokeWith(d, revocationToken(t, d, nil), fmt.Sprintf(`{"sub_id":{"format":"email","email":%q}}`, email))
		}
		wantRefusal(t, "without the setting", 400, "parameter_unsupported", byEmail("a@example.com"))
		tenant.TrustedIssuers[0].RevocationEmail = "email"
		d.Apply(tenant)
		claims := map[string]any{"email": "a@example.com"}
		mine := d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", claims)))
		theirs := d.Want(200, "", d.Exchange("", "web", other.Token(d.URL, "alice", claims)))
		if a := byEmail("a@example.com"); a.Status == 503 { // the list is new, and no user has been indexed
			d.Clock.Advance(time.Minute)
			if err := d.Store.IndexAttributes(t.Context()); err != nil {
				t.Fatal(err)
			}
		} else {
			d.Want(204, "", a)
		}
		wantRefusal(t, "another email", 404, "revocation_user_unknown", byEmail("b@example.com"))
		wantRefusal(t, "an email in another case", 404, "revocation_user_unknown", byEmail("A@example.com"))
		d.Want(400, "invalid_request", byEmail(""))
		d.Want(204, "", byEmail("a@example.com"))
		if d.Active(mine.Text("access_token")) || !d.Active(theirs.Text("access_token")) {
			t.Error("the user of another namespace was signed out, or the own one was not")
		}
	})
}

// An identity provider without a namespace of its own does not reach those of others.
func TestAnIdentityProviderSignsOutOnlyUsersThatItSpeaksFor(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		other := testserver.NewIssuer(t, d.Clock)
		corp := other.Entry()
		corp.SubjectPrefix = "corp:"
		trusting(d, revoking(d.Issuer.Entry()), corp)
		d.Want(200, "", d.Exchange("", "web", other.Token(d.URL, "bob", nil)))
		for what, body := range map[string]string{"by the sub here": opaque("corp:bob"), "by its own sub": issSub(d.Issuer.URL, "corp:bob")} {
			wantRefusal(t, what, 404, "revocation_user_unknown", revokeWith(d, revocationToken(t, d, nil), body))
		}
		if n := live(t, d, "corp:bob"); n != 1 {
			t.Errorf("%d sessions are live", n)
		}
	})
}

func TestADisabledIssuerEndsNothing(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		other := testserver.NewIssuer(t, d.Clock)
		enabled, provider, second := revoking(other.Entry()), openIDProvider(d.Issuer), openIDProvider(other)
		disabled := revoking(d.Issuer.Entry())
		enabled.SubjectPrefix, provider.SubjectPrefix, second.SubjectPrefix = "corp:", "p:", "q:"
		enabled.ID, provider.ID, second.ID = "enabled", "provider", "second"
		disabled.Disabled, provider.Disabled = true, true
		trusting(d, disabled, enabled, provider, second)
		for what, a := range map[string]*testserver.Answer{
			"a revocation":     revokeWith(d, revocationToken(t, d, nil), opaque("alice")),
			"a security event": pushEvent(d, signed(t, d.Issuer, "secevent+jwt", eventClaims(d, sessionRevoked, object{"format": "opaque", "id": "alice"}))),
			"a logout":         logOut(d, signed(t, d.Issuer, "logout+jwt", logoutClaims(d, object{"sub": "alice"}))),
		} {
			if a.Status != 400 && a.Status != 401 || !strings.Contains(string(a.Body), "not a trusted issuer") {
				t.Errorf("%s: %d %s", what, a.Status, a.Body)
			}
		}
	})
}

// A token counts once at all nodes, for as long as it is accepted. Tokens for different
// purposes may have the same jti.
func TestATokenOfAnIdentityProviderCountsOnceForEachPurpose(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		provider := openIDProvider(d.Issuer)
		provider.ID, provider.SubjectPrefix = "provider", "p:"
		trusting(d, revoking(d.Issuer.Entry()), provider)
		other := d.OtherNode()
		jti, user := rand.Text(), opaque("alice")
		event := signed(t, d.Issuer, "secevent+jwt", changed(eventClaims(d, sessionRevoked, object{"format": "opaque", "id": "alice"}), object{"jti": jti}))
		revocation := revocationToken(t, d, object{"jti": jti})
		logout := signed(t, d.Issuer, "logout+jwt", logoutClaims(d, object{"sub": "alice", "jti": jti}))
		signIn := func() {
			d.Clock.Advance(time.Second)
			d.SignIn("alice")
			d.Want(200, "", exchangeIDToken(d, idToken(d, "alice", "")))
		}
		wantLive := func(what string, a *testserver.Answer, status, own, atProvider int) {
			t.Helper()
			if n, m := live(t, d, "alice"), live(t, d, "p:alice"); a.Status != status || n != own || m != atProvider {
				t.Errorf("%s: %d %s; %d and %d sessions are live, want %d and %d", what, a.Status, a.Body, n, m, own, atProvider)
			}
		}
		signIn()
		wantLive("the revocation", revokeWith(d, revocation, user), 204, 0, 1)
		wantLive("the logout", logOut(d, logout), 200, 0, 0)
		signIn()
		wantLive("the security event", pushEvent(d, event), 202, 0, 1)
		signIn()
		prune := func() {
			if _, err := d.Store.Prune(t.Context(), d.Clock.Now()); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			for _, node := range []*testserver.Deployment{d, other} {
				wantLive("the revocation again", revokeWith(node, revocation, user), 401, 1, 2)
				wantLive("the logout again", logOut(node, logout), 400, 1, 2)
				wantLive("the security event again", pushEvent(node, event), 202, 1, 2)
			}
			d.Clock.Advance(30 * time.Second)
			prune()
		}
		d.Clock.Advance(23 * time.Hour) // a security event is accepted for a day
		prune()
		wantLive("the security event a day later", pushEvent(other, event), 202, 1, 2)
	})
}
