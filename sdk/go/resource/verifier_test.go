package resource_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
	"github.com/latchkey/latchkey/sdk/go/resource"
)

type claims = latchkeytest.Claims

// newVerifier returns a verifier that is closed with the test.
func newVerifier(t testing.TB, issuer *latchkeytest.Issuer, changes ...func(*resource.VerifierOptions)) *resource.Verifier {
	t.Helper()
	o := issuer.VerifierOptions()
	for _, change := range changes {
		change(&o)
	}
	v, err := resource.NewVerifier(issuer.URL, latchkeytest.Audience, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func noRevocationCheck(o *resource.VerifierOptions) { o.Revocation = resource.None }

// want verifies a token; nil: it must be accepted.
func want(t testing.TB, v *resource.Verifier, token string, err error) {
	t.Helper()
	_, got := v.Verify(t.Context(), token)
	if !errors.Is(got, err) || errors.Is(got, latchkey.ErrInvalidToken) && errors.Is(got, latchkey.ErrUnavailable) {
		t.Errorf("verifies with %v, want %v", got, err)
	}
}

// until waits for a condition. Only a failing test waits for the full minute.
func until(t testing.TB, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still waiting")
		}
	}
}

func TestVerifyReturnsTheClaims(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer, noRevocationCheck)
	now := issuer.Now().Truncate(time.Second)
	token := issuer.Token(claims{
		"scope": "profile orders:read", "acr": "phr", "amr": []string{"hwk"}, "sid": "s", "jti": "j", "plan": "gold",
		"aud": []string{"https://files.example.com", latchkeytest.Audience}, "iat": now.Unix(), "exp": now.Unix() + 60, "auth_time": now.Unix() - 60,
	})
	for range 2 { // the second comes from the cache
		got, err := v.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		fields := fmt.Sprintln(got.Issuer == issuer.URL, got.Subject, got.ClientID, got.SessionID, got.ID, got.Audience, got.Scopes, got.ACR, got.AMR,
			got.IssuedAt.Equal(now), got.Expiry.Sub(now), got.AuthTime.Sub(now), got.HasScope("orders:read"), got.HasScope("orders"))
		if fields != "true alice web s j [https://files.example.com https://api.example.com] [profile orders:read] phr [hwk] true 1m0s -1m0s true false\n" {
			t.Errorf("the claims are %s", fields)
		}
		var own struct{ Plan string }
		if err := got.Claims(&own); err != nil || own.Plan != "gold" {
			t.Errorf("its own claim is %q, %v", own.Plan, err)
		}
	}
}

func TestVerifyRejects(t *testing.T) {
	issuer := latchkeytest.New(t)
	other := latchkeytest.New(t)
	v := newVerifier(t, issuer, noRevocationCheck)
	now := issuer.Now().Unix()
	header := func(more string) string {
		return `{"alg":"ES256","typ":"at+jwt","kid":"` + issuer.KeyID() + `"` + more + `}`
	}
	payload := func(more string) string {
		return fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"alice","client_id":"web","jti":"j","iat":%d,"exp":%d%s}`, issuer.URL, latchkeytest.Audience, now, now+60, more)
	}
	good := issuer.SignText(header(""), payload(""))
	want(t, v, good, nil)
	want(t, v, issuer.SignText(header(`,"x5t":"ignored"`), payload(`,"nested":{"a":[{"a":1}]}`)), nil)
	for name, token := range map[string]string{
		"nothing":                           "",
		"no JWS":                            "lk_at_abc",
		"an expired token":                  issuer.ExpiredToken(),
		"an iat in the future":              issuer.Token(claims{"iat": now + 60}),
		"an nbf in the future":              issuer.Token(claims{"nbf": now + 60}),
		"a forged signature":                issuer.ForgedToken(),
		"another issuer":                    other.Token(),
		"another issuer's key with our iss": other.Token(claims{"iss": issuer.URL}),
		"our key with another iss":          issuer.Token(claims{"iss": issuer.URL + "/"}),
		"another audience":                  issuer.Token(claims{"aud": "https://files.example.com"}),
		"a longer audience":                 issuer.Token(claims{"aud": latchkeytest.Audience + "/"}),
		"no audience":                       issuer.Token(claims{"aud": nil}),
		"an audience that is a number":      issuer.Token(claims{"aud": 1}),
		"no exp":                            issuer.Token(claims{"exp": nil}),
		"an exp that is a string":           issuer.Token(claims{"exp": "never"}),
		"an exp that is null":               issuer.SignText(header(""), strings.Replace(payload(""), fmt.Sprint(now+60), "null", 1)),
		"an iat that is null":               issuer.SignText(header(""), strings.Replace(payload(""), fmt.Sprintf(`"iat":%d`, now), `"iat":null`, 1)),
		"a subject that is null":            issuer.SignText(header(""), strings.Replace(payload(""), `"alice"`, "null", 1)),
		"an empty subject":                  issuer.Token(claims{"sub": ""}),
		"an empty client":                   issuer.Token(claims{"client_id": ""}),
		"an empty id":                       issuer.Token(claims{"jti": ""}),
		"no iat":                            issuer.Token(claims{"iat": nil}),
		"no subject":                        issuer.Token(claims{"sub": nil}),
		"no client":                         issuer.Token(claims{"client_id": nil}),
		"no id":                             issuer.Token(claims{"jti": nil}),
		"a claim name in upper case":        issuer.SignText(header(""), strings.Replace(payload(""), `"aud"`, `"AUD"`, 1)),
		"an ID token":                       issuer.Sign("JWT", issuer.AccessClaims()),
		"a signed introspection":            issuer.Sign("token-introspection+jwt", issuer.AccessClaims()),
		"no type":                           issuer.SignText(`{"alg":"ES256","kid":"`+issuer.KeyID()+`"}`, payload("")),
		"no key id":                         issuer.SignText(`{"alg":"ES256","typ":"at+jwt"}`, payload("")),
		"an unknown key id":                 issuer.SignText(`{"alg":"ES256","typ":"at+jwt","kid":"other"}`, payload("")),
		"no algorithm":                      issuer.SignText(`{"typ":"at+jwt","kid":"`+issuer.KeyID()+`"}`, payload("")),
		"the algorithm none":                issuer.SignText(strings.Replace(header(""), "ES256", "none", 1), payload("")),
		"an algorithm in lower case":        issuer.SignText(strings.Replace(header(""), "ES256", "es256", 1), payload("")),
		"the algorithm of another key":      issuer.SignText(strings.Replace(header(""), "ES256", "RS256", 1), payload("")),
		"a shared secret":                   issuer.SignText(strings.Replace(header(""), "ES256", "HS256", 1), payload("")),
		"critical extensions":               issuer.SignText(header(`,"crit":["exp"]`), payload("")),
		"an unencoded payload":              issuer.SignText(header(`,"b64":true`), payload("")),
		"compression":                       issuer.SignText(header(`,"zip":"DEF"`), payload("")),
		"a header with two types":           issuer.SignText(header(`,"typ":"at+jwt"`), payload("")),
		"two subjects":                      issuer.SignText(header(""), payload(`,"sub":"bob"`)),
		"two equal members further down":    issuer.SignText(header(""), payload(`,"a":{"b":1,"b":1}`)),
		"two names that are one":            issuer.SignText(header(""), payload(`,"\u0073ub":"bob"`)),
		"JSON nested too deeply":            issuer.SignText(header(""), payload(`,"a":`+strings.Repeat("[", 17)+strings.Repeat("]", 17))),
		"data after the object":             issuer.SignText(header(""), payload("")+"{}"),
		"a payload that is no object":       issuer.SignText(header(""), "[]"),
		"a payload that is not UTF-8":       issuer.SignText(header(""), payload(`,"a":"`+"\xff"+`"`)),
		"a long header":                     issuer.SignText(header(`,"a":"`+strings.Repeat("a", 4<<10)+`"`), payload("")),
		"a long token":                      issuer.SignText(header(""), payload(`,"a":"`+strings.Repeat("a", 16<<10)+`"`)),
		"four parts":                        good + ".e30",
		"two parts":                         good[:strings.LastIndex(good, ".")],
		"padding":                           good + "=",
		"white space":                       good + "\n",
		"white space within":                strings.Replace(good, ".", ".\n", 1),
		"an empty signature":                good[:strings.LastIndex(good, ".")+1],
		"another encoding of the signature": respelled(good),
	} {
		t.Run(name, func(t *testing.T) {
			want(t, v, token, latchkey.ErrInvalidToken)
		})
	}
}

// respelled sets an unused bit of the last character: 64 bytes are 85
// characters and a third of one.
func respelled(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	return token[:last] + string(alphabet[strings.IndexByte(alphabet, token[last])|1])
}

func TestVerifyAcceptsTheConfiguredTypes(t *testing.T) {
	issuer := latchkeytest.New(t)
	strict, lenient := newVerifier(t, issuer, noRevocationCheck), newVerifier(t, issuer, noRevocationCheck, func(o *resource.VerifierOptions) { o.AcceptTypJWT = true })
	for typ, c := range map[string]struct{ strict, lenient error }{
		"at+jwt":             {nil, nil},
		"AT+JWT":             {nil, nil},
		"application/at+jwt": {nil, nil},
		"JWT":                {latchkey.ErrInvalidToken, nil},
		"logout+jwt":         {latchkey.ErrInvalidToken, latchkey.ErrInvalidToken},
	} {
		token := issuer.Sign(typ, issuer.AccessClaims())
		t.Run(typ, func(t *testing.T) {
			want(t, strict, token, c.strict)
			want(t, lenient, token, c.lenient)
		})
	}
}

func TestVerifyChecksTheTimeOnEachCall(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*resource.VerifierOptions)
		iat      time.Duration
		after    time.Duration
		then     error
		finally  time.Duration
		eventual error
	}{
		"until exp and 30 s more":      {noRevocationCheck, 0, latchkeytest.AccessTokenLifetime + 28*time.Second, nil, 3 * time.Second, latchkey.ErrInvalidToken},
		"without tolerance":            {func(o *resource.VerifierOptions) { o.Tolerance = -1 }, 0, latchkeytest.AccessTokenLifetime - 2*time.Second, nil, 3 * time.Second, latchkey.ErrInvalidToken},
		"with a tolerance of a minute": {func(o *resource.VerifierOptions) { o.Tolerance = time.Minute }, 0, latchkeytest.AccessTokenLifetime + 58*time.Second, nil, 3 * time.Second, latchkey.ErrInvalidToken},
		"with an iat within tolerance": {noRevocationCheck, 28 * time.Second, 0, nil, latchkeytest.AccessTokenLifetime + 31*time.Second, latchkey.ErrInvalidToken},
		"with an iat beyond tolerance": {noRevocationCheck, 33 * time.Second, 0, latchkey.ErrInvalidToken, 5 * time.Second, nil},
		"until MaxTokenAge":            {func(o *resource.VerifierOptions) { o.MaxTokenAge = time.Minute }, 0, 58 * time.Second, nil, 3 * time.Second, latchkey.ErrInvalidToken},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := latchkeytest.New(t)
			v := newVerifier(t, issuer, noRevocationCheck, c.change)
			now := issuer.Now()
			token := issuer.Token(claims{"iat": now.Add(c.iat).Unix(), "exp": now.Add(latchkeytest.AccessTokenLifetime).Unix()})
			issuer.Advance(c.after)
			want(t, v, token, c.then)
			issuer.Advance(c.finally)
			want(t, v, token, c.eventual)
		})
	}
}

func TestNewVerifierRejects(t *testing.T) {
	type options = resource.VerifierOptions
	credentials := options{ClientID: "api", ClientSecret: "secret"}
	with := func(change func(*options)) options {
		o := credentials
		change(&o)
		return o
	}
	for name, c := range map[string]struct {
		issuer, audience string
		o                options
	}{
		"no audience":                    {"https://auth.example.com", "", credentials},
		"no issuer":                      {"", "api", credentials},
		"plain HTTP":                     {"http://auth.example.com", "api", credentials},
		"an issuer with a final slash":   {"https://auth.example.com/", "api", credentials},
		"the feed without a client":      {"https://auth.example.com", "api", options{}},
		"the feed without a secret":      {"https://auth.example.com", "api", options{ClientID: "api"}},
		"introspection without a client": {"https://auth.example.com", "api", options{Revocation: resource.Introspection}},
		"an unknown revocation":          {"https://auth.example.com", "api", options{Revocation: 4}},
		"an unknown OnFeedLoss":          {"https://auth.example.com", "api", with(func(o *options) { o.OnFeedLoss = 2 })},
		"OnFeedLoss without the feed":    {"https://auth.example.com", "api", with(func(o *options) { o.Revocation, o.OnFeedLoss = resource.None, resource.FallBackToIntrospection })},
		"a cache without introspection":  {"https://auth.example.com", "api", with(func(o *options) { o.IntrospectionCache = time.Second })},
		"a long introspection cache":     {"https://auth.example.com", "api", with(func(o *options) { o.Revocation, o.IntrospectionCache = resource.Introspection, 61*time.Second })},
		"an introspection cache without tokens": {"https://auth.example.com", "api", with(func(o *options) {
			o.Revocation, o.IntrospectionCache, o.CacheSize = resource.Introspection, time.Second, -1
		})},
		"a tolerance above a minute": {"https://auth.example.com", "api", with(func(o *options) { o.Tolerance = 61 * time.Second })},
		"a negative age":             {"https://auth.example.com", "api", with(func(o *options) { o.MaxTokenAge = -1 })},
	} {
		t.Run(name, func(t *testing.T) {
			if v, err := resource.NewVerifier(c.issuer, c.audience, c.o); err == nil {
				v.Close()
				t.Error("it is accepted")
			}
		})
	}
}

// A resource server starts while its issuer is unreachable, and its requests
// wait no longer than their context allows.
func TestNewVerifierWaitsForNothing(t *testing.T) {
	asked := make(chan struct{}, 100)
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	}))
	defer hanging.Close()
	defer close(release)
	issuer := latchkeytest.New(t)
	v, err := resource.NewVerifier(hanging.URL, latchkeytest.Audience, issuer.VerifierOptions())
	if err != nil {
		t.Fatal(err)
	}
	<-asked // before any token arrives
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Verify(ctx, issuer.Token(claims{"iss": hanging.URL})); !errors.Is(err, latchkey.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if s := v.Status(); !errors.Is(s.Err, latchkey.ErrUnavailable) || !s.KeysFetchedAt.IsZero() {
		t.Errorf("the status is %+v", s)
	}
	v.Close()
	want(t, v, issuer.Token(), latchkey.ErrUnavailable)
}

func TestVerifySendsNoRequestPerToken(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer)
	token := issuer.Token()
	var asking sync.WaitGroup
	for range 50 {
		asking.Go(func() {
			want(t, v, token, nil)
			want(t, v, issuer.Token(), nil)
		})
	}
	asking.Wait()
	for path, times := range map[string]int{"/.well-known/openid-configuration": 1, "/.well-known/jwks.json": 1, "/revocations": 1, "/introspect": 0} {
		if got := issuer.RequestCount(path); got != times {
			t.Errorf("%s received %d requests, want %d", path, got, times)
		}
	}
}
