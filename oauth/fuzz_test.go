package oauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/internal/testjose"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// FuzzCompactHeader checks that an accepted token has one spelling and is signed.
func FuzzCompactHeader(f *testing.F) {
	for _, header := range []string{`{"alg":"RS256","kid":"k","typ":"JWT"}`, `{"alg":"RS256","crit":["b64"],"b64":false}`, `{"alg":"none"}`} {
		f.Add(testjose.Compact(header, `{"sub":"alice","aud":["a","b"],"exp":1}`))
	}
	f.Add(testjose.Compact(`{"alg":"RS256"}`, testjose.Nested(17)))
	f.Fuzz(func(t *testing.T, token string) {
		h, err := jws.Parse(token)
		if err != nil {
			return
		}
		if h.Alg == "" || strings.EqualFold(h.Alg, "none") || len(h.Kid) > jws.MaxKid || len(token) > jws.MaxSize {
			t.Errorf("%q is parsed as %+v", token, h)
		}
		parts := strings.Split(token, ".")
		if len(parts) != 3 {
			t.Fatalf("%q has %d parts", token, len(parts))
		}
		for i, part := range parts {
			b, err := base64.RawURLEncoding.DecodeString(part)
			if err != nil || len(b) == 0 || base64.RawURLEncoding.EncodeToString(b) != part {
				t.Errorf("%q is another spelling, or empty", part)
			}
			if i < 2 && !strictJSON(b) {
				t.Errorf("%q is accepted as a strict object", b)
			}
		}
	})
}

// FuzzJOSEHeader checks that a header and a payload are accepted exactly if they are
// strict JSON and the header has no rejected member, and that the library that
// verifies signatures parses them in the same way.
func FuzzJOSEHeader(f *testing.F) {
	f.Add([]byte(`{"alg":"RS256","kid":"k","typ":"JWT"}`), []byte(`{"sub":"alice","aud":["a","b"],"exp":1}`))
	f.Add([]byte(`{"alg":"RS256"}`), []byte(testjose.Nested(16)))
	f.Add([]byte(`{"alg":"RS256"}`), []byte(testjose.Nested(17)))
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		token := testjose.Compact(string(header), string(payload))
		h, err := jws.Parse(token)
		want, ok := oracleHeader(header)
		ok = ok && strictJSON(payload) && len(token) <= jws.MaxSize
		if (err == nil) != ok {
			t.Fatalf("%q, %q: %v, but the oracle accepts it: %t", header, payload, err, ok)
		}
		if err != nil {
			return
		}
		if h.Alg != want.Alg || h.Kid != want.Kid || h.Typ != want.Typ {
			t.Errorf("%q is parsed as %+v, want %+v", header, h, want)
		}
		signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(h.Alg)})
		if err != nil {
			return // go-jose is stricter
		}
		theirs := signed.Signatures[0].Protected
		typ, _ := theirs.ExtraHeaders[jose.HeaderType].(string)
		if theirs.Algorithm != h.Alg || theirs.KeyID != h.Kid || typ != h.Typ || !bytes.Equal(signed.UnsafePayloadWithoutVerification(), payload) {
			t.Errorf("%q is parsed as %+v, and by go-jose as %+v", header, h, theirs)
		}
	})
}

// oracleHeader parses a header independently: into plain values, by exact names.
func oracleHeader(text []byte) (h jws.Header, ok bool) {
	var members map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if len(text) > jws.MaxHeaderSize || !strictJSON(text) || d.Decode(&members) != nil {
		return h, false
	}
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if _, present := members[name]; present {
			return h, false
		}
	}
	for name, field := range map[string]*string{"alg": &h.Alg, "kid": &h.Kid, "typ": &h.Typ} {
		value, present := members[name]
		if text, isText := value.(string); isText {
			*field = text
		} else if present && value != nil {
			return h, false
		}
	}
	return h, h.Alg != "" && strings.ToLower(h.Alg) != "none" && len(h.Kid) <= jws.MaxKid
}

// strictJSON implements CheckObject in another way: encoding/json reports whether
// the text is valid JSON, and a scan of its characters checks the rest.
func strictJSON(text []byte) bool {
	if !utf8.Valid(text) || !json.Valid(text) || !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		return false
	}
	var open []map[string]bool // the names in each open object; nil: a list
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '{':
			open = append(open, map[string]bool{})
		case '[':
			open = append(open, nil)
		case '}', ']':
			open = open[:len(open)-1]
		case '"':
			end := i + 1
			for ; text[end] != '"'; end++ {
				if text[end] == '\\' {
					end++
				}
			}
			var name string
			if json.Unmarshal(text[i:end+1], &name) != nil {
				return false
			}
			i = end
			if rest := bytes.TrimLeft(text[end+1:], " \t\r\n"); rest[0] == ':' {
				seen := open[len(open)-1]
				if seen[name] {
					return false
				}
				seen[name] = true
			}
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			end := i
			for strings.IndexByte("+-.0123456789eE", text[end]) >= 0 {
				end++
			}
			i = end - 1
		}
		if len(open) > jws.MaxDepth {
			return false
		}
	}
	return true
}

// FuzzParseForm checks that a request is accepted exactly if RFC 6749 and the limits
// allow it, and that it then has the values that url.ParseQuery returns.
func FuzzParseForm(f *testing.F) {
	f.Add(formType, "", "grant_type=refresh_token&client_id=web&refresh_token=x")
	f.Add(formType, "", "a="+strings.Repeat("x", MaxBody-1))          // one byte too many
	f.Add(formType, "", strings.Repeat("audience=x&", maxParameters)) // the empty last parameter counts
	f.Add(formType, "", strings.Repeat("audience=x&", maxParameters-1))
	f.Add(formType, "", "subject_token="+strings.Repeat("t", maxToken+1))
	f.Fuzz(func(t *testing.T, contentType, query, body string) {
		r := &http.Request{
			Method: http.MethodPost, URL: &url.URL{Path: "/token", RawQuery: query},
			Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body)),
		}
		got, err := parseForm(r)
		want, ok := oracleForm(contentType, query, body)
		if (err == nil) != ok {
			t.Fatalf("%q, %q, %q: %v, but the oracle accepts it: %t", contentType, query, body, err, ok)
		}
		if code := refusal(err); err != nil && code != "400 invalid_request" && (code != "413 invalid_request" || len(body) <= MaxBody) {
			t.Errorf("%q, %q, %q: %s", contentType, query, body, code)
		}
		if err == nil && (got.Encode() != want.Encode() || r.PostForm.Encode() != want.Encode() || r.Form.Encode() != want.Encode()) {
			t.Errorf("%q is parsed as %v, want %v", body, got, want)
		}
	})
}

// oracleForm parses a form independently: one pair after the other.
func oracleForm(contentType, query, body string) (form url.Values, ok bool) {
	media, _, err := mime.ParseMediaType(contentType)
	inURL, badQuery := url.ParseQuery(query)
	if err != nil || badQuery != nil || media != formType || len(body) > MaxBody {
		return nil, false
	}
	for name := range inURL {
		if slices.Contains(confidential, name) {
			return nil, false
		}
	}
	pairs := strings.Split(body, "&")
	form, seen := url.Values{}, map[string]bool{}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		mayRepeat := name == "resource" || name == "audience"
		switch {
		case pair == "":
			continue
		case err1 != nil, err2 != nil, strings.Contains(pair, ";"), seen[name] && !mayRepeat,
			!utf8.ValidString(name), !utf8.ValidString(value), strings.Contains(name+value, "\x00"),
			len(value) > maxToken && slices.Contains(confidential, name):
			return nil, false
		}
		if seen[name] = true; value != "" {
			form.Add(name, value)
		}
	}
	return form, len(pairs) <= maxParameters
}

// FuzzScope checks that an accepted scope is the requested one, with each name once
// and without extra spaces.
func FuzzScope(f *testing.F) {
	f.Add(numbered(MaxScopes))
	f.Add(numbered(MaxScopes + 1))
	f.Fuzz(func(t *testing.T, text string) {
		scopes, err := parseScope(text)
		if err != nil {
			if refusal(err) != "400 invalid_scope" || scopes != nil {
				t.Errorf("%q: %v, %v", text, scopes, err)
			}
			return
		}
		requested := slices.DeleteFunc(strings.Split(text, " "), func(name string) bool { return name == "" })
		distinct := slices.Compact(slices.Sorted(slices.Values(requested)))
		if !slices.Equal(slices.Sorted(slices.Values(scopes)), distinct) || len(scopes) > MaxScopes {
			t.Errorf("%q is parsed as %q", text, scopes)
		}
		for _, s := range scopes {
			if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
				t.Errorf("%q contains the scope %q", text, s)
			}
		}
	})
}

// FuzzTarget checks that an accepted resource is an absolute URI without a fragment
// and is not changed, that every resource in a client's configuration is accepted,
// and that only configured resources are granted.
func FuzzTarget(f *testing.F) {
	f.Add("https://api.example.com/v1?x=1", "https://api.example.com/v1?x=1")
	f.Fuzz(func(t *testing.T, configured, requested string) {
		form := url.Values{"resource": {requested}}
		targets, err := requestedTargets(form)
		if err != nil && refusal(err) != "400 invalid_target" {
			t.Errorf("%q: %v", requested, err)
		}
		if err == nil && !slices.Equal(targets, []string{requested}) {
			t.Errorf("%q is parsed as %q", requested, targets)
		}
		if scheme, rest, _ := strings.Cut(requested, ":"); err == nil && (scheme == "" || rest == "" || strings.ContainsAny(scheme, "/?#") || strings.Contains(requested, "#")) {
			t.Errorf("%q is accepted as an absolute URI without a fragment", requested)
		}
		client := settings.ClientSpec{ID: "web", ClientSettings: settings.ClientSettings{
			Auth: settings.AuthNone, Grants: []string{settings.GrantTokenExchange}, Audiences: []string{configured},
		}}
		faults := settings.ValidateTenants([]settings.TenantSpec{{ID: "default", Clients: []settings.ClientSpec{client}}}, "")
		if len(faults) > 0 {
			return
		}
		c := clientWith(client.ClientSettings)
		granted, err := grantTargets(c, form)
		if (err == nil) != (requested == configured && strings.Contains(requested, ":")) || err == nil && !slices.Equal(granted, []string{requested}) {
			t.Errorf("%q is granted %q for %q: %v", configured, granted, requested, err)
		}
		if granted, err := grantTargets(c, url.Values{"audience": {requested}}); err == nil && (requested != configured && requested != "web" || !slices.Equal(granted, []string{requested})) {
			t.Errorf("%q is granted %q for the audience %q", configured, granted, requested)
		}
	})
}

// readClaims returns the claims that an expression gets for a payload, or nil if the
// payload is rejected before.
func readClaims(payload []byte) map[string]any {
	if len(payload) > jws.MaxSize || jws.CheckObject(payload) != nil {
		return nil
	}
	claims, err := models.ParseObject(payload)
	if err != nil {
		return nil
	}
	return claims
}

// maxEvaluation is far longer than any evaluation takes: only one that never ends
// exceeds it.
const maxEvaluation = 20 * time.Second

// mustEnd fails the test if fn does not return.
func mustEnd(t *testing.T, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(maxEvaluation):
		t.Fatalf("%s has not ended", what)
	}
}

// FuzzMapUser checks that any expressions of an issuer's entry and any claims of its
// token result in a user that can be stored, or in a refusal.
func FuzzMapUser(f *testing.F) {
	f.Fuzz(func(t *testing.T, subject, attribute string, payload []byte) {
		claims := readClaims(payload)
		if claims == nil {
			return
		}
		e := &issuerEntry{}
		e.Settings = settings.IssuerSettings{Subject: subject, UserAttributes: map[string]string{"a": attribute}, SubjectPrefix: "idp:"}
		mustEnd(t, "mapping", func() {
			var faults settings.Faults
			if e.compile(&faults, "trusted_issuers[0]."); len(faults) > 0 {
				for _, fault := range faults {
					if !strings.HasPrefix(fault.Path, "trusted_issuers[0].") || fault.Problem == "" {
						t.Errorf("a fault without a path or a problem: %v", fault)
					}
				}
				return
			}
			s := &Subject{entry: e, claims: claims}
			err := s.mapUser(clientWith(settings.ClientSettings{}))
			if err != nil {
				if refusal(err) != "400 invalid_request" {
					t.Errorf("%v", err)
				}
				return
			}
			if rest, ok := strings.CutPrefix(s.sub, "idp:"); !ok || rest == "" || len(s.sub) > 255 || strings.ContainsFunc(s.sub, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("the subject is %q", s.sub)
			}
			text, err := json.Marshal(s.userAttributes)
			if err != nil || len(text) > 8*expr.MaxResult || strings.Contains(fmt.Sprint(s.userAttributes), "\x00") {
				t.Errorf("%d bytes of attributes, %v", len(text), err)
			}
		})
	})
}

// FuzzAllow checks that a token is allowed only if the rule returns the boolean true.
func FuzzAllow(f *testing.F) {
	store, err := models.Open(f.Context(), "sqlite:"+filepath.Join(f.TempDir(), "db"), models.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { store.Close() })
	if err := store.Migrate(f.Context()); err != nil {
		f.Fatal(err)
	}
	envs, err := expr.Environments()
	if err != nil {
		f.Fatal(err)
	}
	server := New(Config{Store: store, Keys: keysOf(f, rootA)})
	f.Fuzz(func(t *testing.T, rule string, payload []byte) {
		claims := readClaims(payload)
		if claims == nil {
			return
		}
		mustEnd(t, rule, func() {
			allow, err := envs.Allow.Compile(rule, expr.Bool)
			if err != nil {
				return
			}
			c := clientWith(settings.ClientSettings{})
			c.allow = allow
			s := &Subject{entry: &issuerEntry{}, claims: claims, sub: "alice"}
			refused := server.checkPolicy(t.Context(), c, s)
			verdict, err := allow.Evaluate(map[string]any{
				"token": claims, "client": map[string]any{"id": "web", "name": "", "public": false}, "user": map[string]any{"sub": "alice"},
			})
			if (refused == nil) != (err == nil && verdict == true) {
				t.Errorf("%s returns %v, %v, and allows the token: %t", rule, verdict, err, refused == nil)
			}
			if refused != nil && refusal(refused) != "400 invalid_request" {
				t.Errorf("%s: %v", rule, refused)
			}
		})
	})
}

// FuzzACRRule checks that a rule holds only if it returns the boolean true, whatever
// the factors are.
func FuzzACRRule(f *testing.F) {
	envs, err := expr.Environments()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, rule, amr string, age int64) {
		mustEnd(t, rule, func() {
			var faults settings.Faults
			classes := compileClasses(envs.Class, []settings.ACRClass{{Value: "any", When: rule}}, "acr", &faults)
			var factors []session.Factor
			for method := range strings.FieldsSeq(amr) {
				factors = append(factors, session.Factor{AMR: method, Issuer: "https://auth.example.com", AuthTime: epoch.Add(-time.Duration(age))})
			}
			acr, failed := classes.Assurance(epoch, factors)
			switch {
			case acr != "" && (len(faults) > 0 || len(factors) == 0 || failed != nil):
				t.Errorf("%s holds over %q: %v, %v", rule, amr, faults, failed)
			case len(faults) > 0 && len(factors) > 0 && failed["any"] == nil:
				t.Errorf("%s has faults, but does not fail: %v", rule, faults)
			case len(faults) == 0 && len(factors) > 0:
				e, err := envs.Class.Compile(rule, expr.Bool)
				if err != nil {
					t.Fatalf("%s does not compile again: %v", rule, err)
				}
				if holds, err := ruleHolds(e, epoch, factors); (acr != "") != (holds && err == nil) {
					t.Errorf("%s returns %t, %v and %q", rule, holds, err, acr)
				}
			}
		})
	})
}

// FuzzCustomClaims checks that any expression over any attributes results in a claim
// that is JSON within the limit, or is left out. The claim is named in leftOut unless
// its value does not exist.
func FuzzCustomClaims(f *testing.F) {
	envs, err := expr.Environments()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, first, second string, attributes []byte) {
		user := readClaims(attributes)
		if user == nil {
			return
		}
		mustEnd(t, first+" and "+second, func() {
			var faults settings.Faults
			c := clientWith(settings.ClientSettings{})
			c.claims = envs.Claim.CompileMapping(map[string]string{"a": first, "b": second}, "claims", &faults)
			s := &models.Session{Subject: "alice", UserAttributes: user, Attributes: user, DeviceName: "a phone"}
			claims := map[string]any{}
			leftOut := addCustomClaims(expr.NewBudget(), c, s, statement{}, claims)
			text, err := jws.EncodeJSON(claims)
			if err != nil || len(text) > maxClaims+len("{}") {
				t.Errorf("%d bytes of claims, %v", len(text), err)
			}
			for name := range leftOut {
				if _, both := claims[name]; both || c.claims[name] == nil {
					t.Errorf("%s is left out, but has the value %v", name, claims[name])
				}
			}
			for name, e := range c.claims {
				_, filled := claims[name]
				if _, err := e.Evaluate(map[string]any{"user": userVariable("alice", user), "session": sessionVariable(c.tenant, s, statement{})}); !filled && leftOut[name] == "" && !errors.Is(err, expr.ErrMissing) {
					t.Errorf("%s is left out silently: %v", name, err)
				}
			}
			if len(faults)+len(c.claims) != 2 {
				t.Errorf("%d faults, and %d claims", len(faults), len(c.claims))
			}
		})
	})
}
