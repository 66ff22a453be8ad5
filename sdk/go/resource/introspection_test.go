package resource_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
	"github.com/latchkey/latchkey/sdk/go/resource"
)

func introspection(o *resource.VerifierOptions) { o.Revocation = resource.Introspection }

func TestATokenIsIntrospectedOnEachCall(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer, introspection)
	token := issuer.Token(claims{"sid": "s"})
	want(t, v, token, nil)
	want(t, v, token, nil)
	if n := issuer.RequestCount("/introspect"); n != 2 {
		t.Errorf("the issuer received %d introspection requests", n)
	}
	issuer.RevokeSession("s")
	want(t, v, token, latchkey.ErrInvalidToken)
	issuer.SetDown(true)
	want(t, v, token, latchkey.ErrUnavailable)
}

func TestAnIntrospectionResponseIsCached(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer, introspection, func(o *resource.VerifierOptions) { o.IntrospectionCache = time.Minute })
	token := issuer.Token(claims{"sid": "s"})
	want(t, v, token, nil)
	issuer.RevokeSession("s")
	issuer.Advance(58 * time.Second)
	want(t, v, token, nil)
	issuer.Advance(3 * time.Second)
	for range 2 {
		want(t, v, token, latchkey.ErrInvalidToken)
	}
	if n := issuer.RequestCount("/introspect"); n != 3 { // negative responses are not cached
		t.Errorf("the issuer received %d introspection requests", n)
	}
}

// Only tokens that pass every other check are introspected.
func TestInvalidTokensAreNotIntrospected(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer, introspection)
	for _, token := range []string{"x", issuer.ExpiredToken(), issuer.ForgedToken(), issuer.Token(claims{"aud": "other"})} {
		want(t, v, token, latchkey.ErrInvalidToken)
	}
	if n := issuer.RequestCount("/introspect"); n != 0 {
		t.Errorf("the issuer received %d introspection requests", n)
	}
}

// answering is a transport on which the test answers one path.
type answering struct {
	path   string
	answer http.HandlerFunc
}

// RoundTrip implements http.RoundTripper.
func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != a.path {
		return http.DefaultTransport.RoundTrip(r)
	}
	w := httptest.NewRecorder()
	a.answer(w, r)
	return w.Result(), nil
}

// withResponse makes a verifier use that transport.
func withResponse(path string, answer http.HandlerFunc) func(*resource.VerifierOptions) {
	return func(o *resource.VerifierOptions) { o.HTTPClient = &http.Client{Transport: answering{path, answer}} }
}

func TestAnIntrospectionResponseMustDescribeTheToken(t *testing.T) {
	issuer := latchkeytest.New(t)
	good := func(more string) string {
		return `{"active":true,"iss":"` + issuer.URL + `","aud":["other","` + latchkeytest.Audience + `"],"sub":"alice","client_id":"web","jti":"j","sid":"s"` + more + `}`
	}
	for name, c := range map[string]struct {
		status int
		body   string
		err    error
	}{
		"the token":                    {200, good(""), nil},
		"more than needed":             {200, good(`,"plan":"gold"`), nil},
		"not active":                   {200, `{"active":false}`, latchkey.ErrInvalidToken},
		"nothing":                      {200, `{}`, latchkey.ErrInvalidToken},
		"active, but as text":          {200, good(`,"active":"true"`), latchkey.ErrInvalidToken},
		"active, in other letters":     {200, `{"ACTIVE":true}`, latchkey.ErrInvalidToken},
		"another user":                 {200, good(`,"sub":"bob"`), latchkey.ErrUnavailable},
		"another issuer":               {200, good(`,"iss":"https://auth.example.com"`), latchkey.ErrUnavailable},
		"another client":               {200, good(`,"client_id":"other"`), latchkey.ErrUnavailable},
		"another session":              {200, good(`,"sid":"other"`), latchkey.ErrUnavailable},
		"another token of the session": {200, good(`,"jti":"other"`), latchkey.ErrUnavailable},
		"another audience":             {200, good(`,"aud":"other"`), latchkey.ErrUnavailable},
		"no JSON":                      {200, `active`, latchkey.ErrUnavailable},
		"too much":                     {200, good(`,"a":"` + string(make([]byte, 64<<10)) + `"`), latchkey.ErrUnavailable},
		"a wrong secret":               {401, `{"error":"invalid_client"}`, latchkey.ErrUnavailable},
		"a fault":                      {500, good(""), latchkey.ErrUnavailable},
		"a redirect":                   {302, good(""), latchkey.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, issuer, introspection, withResponse("/introspect", func(w http.ResponseWriter, r *http.Request) {
				id, secret, _ := r.BasicAuth()
				if id != latchkeytest.ResourceClientID || secret != latchkeytest.ResourceClientSecret || r.PostFormValue("token") == "" {
					t.Errorf("asked by %q for %q", id, r.PostForm)
				}
				w.Header().Set("Location", issuer.URL+"/introspect")
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			want(t, v, issuer.Token(claims{"sid": "s", "jti": "j"}), c.err)
		})
	}
}
