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
	"github.com/google/cel-go/common/types"

	"github.com/latchkey/latchkey/internal/testjose"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/session"
)

// FuzzHandle: of all texts, only those that were issued are tokens.
func FuzzHandle(f *testing.F) {
	k := keysOf(f, rootA)
	issued := map[[2]string]bool{}
	for _, kind := range []handleKind{refreshToken, sessionToken} {
		for _, generation := range []uint32{0, 7, 1<<32 - 1} {
			text := k.encode("default", someHandle(k, kind, generation))
			issued[[2]string{"default", text}] = true
			f.Add("default", text)
		}
	}
	f.Fuzz(func(t *testing.T, tenant, text string) {
		h, err := k.parseHandle(tenant, text)
		switch {
		case err == nil && unchecked(k, h):
			if body := h.kind.prefix() + base64.RawURLEncoding.EncodeToString(h.body()); !strings.HasPrefix(text, body[:len(body)-1]) {
				t.Errorf("%q is another spelling of %q", text, body)
			}
		case (err == nil) != issued[[2]string{tenant, text}]:
			t.Errorf("%q at %q: %+v, %v", text, tenant, h, err)
		case err == nil && k.encode(tenant, h) != text:
			t.Errorf("%q is another spelling of %q", text, k.encode(tenant, h))
		case err != nil && h != handle{}:
			t.Errorf("%q is refused, and yields %+v", text, h)
		}
	})
}

// unchecked says that a handle's tag cannot be checked: it is a session token
// that names a root which is not configured. Its digest alone tells then.
func unchecked(k *Keys, h handle) bool { return h.kind == sessionToken && k.all[h.version] == nil }

// FuzzIssuedHandle: a token that was issued is read as it was written, and
// with any byte changed, or at any other tenant, it is none.
func FuzzIssuedHandle(f *testing.F) {
	k := keysOf(f, rootA, rootB)
	f.Add("default", "shop", false, []byte("sixteen bytes id"), uint32(0), []byte("thirty-two bytes that are secret"), uint(0), byte(' '))
	f.Fuzz(func(t *testing.T, tenant, other string, isSession bool, id []byte, generation uint32, secret []byte, at uint, to byte) {
		h := handle{kind: refreshToken, version: k.issuing.version, generation: generation}
		if isSession {
			h.kind = sessionToken
		}
		copy(h.session[:], id)
		copy(h.secret[:], secret)
		text := k.encode(tenant, h)
		if got, err := k.parseHandle(tenant, text); err != nil || got != h {
			t.Fatalf("%+v is written as %q, which is read as %+v, %v", h, text, got, err)
		}
		if got, err := k.parseHandle(other, text); err == nil && other != tenant {
			t.Errorf("a token of %q is one of %q: %+v", tenant, other, got)
		}
		changed := []byte(text)
		changed[at%uint(len(text))] = to
		if got, err := k.parseHandle(tenant, string(changed)); err == nil && string(changed) != text && !unchecked(k, got) {
			t.Errorf("%q became %q and is read as %+v", text, changed, got)
		}
		raw, _ := base64.RawURLEncoding.DecodeString(text[len(h.kind.prefix()):])
		raw[at%uint(len(raw))] ^= to // also what base64 spreads over two letters
		respelled := h.kind.prefix() + base64.RawURLEncoding.EncodeToString(raw)
		if got, err := k.parseHandle(tenant, respelled); err == nil && to != 0 && !unchecked(k, got) {
			t.Errorf("byte %d of %q changed by %d is read as %+v", at%uint(len(raw)), text, to, got)
		}
	})
}

// FuzzCompactHeader: what passes has one spelling, and is signed.
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
			t.Errorf("%q yields %+v", token, h)
		}
		parts := strings.Split(token, ".")
		if len(parts) != 3 {
			t.Fatalf("%q has %d parts", token, len(parts))
		}
		for i, part := range parts {
			b, err := base64.RawURLEncoding.DecodeString(part)
			if err != nil || len(b) == 0 || base64.RawURLEncoding.EncodeToString(b) != part {
				t.Errorf("%q is another spelling, or nothing", part)
			}
			if i < 2 && !strictJSON(b) {
				t.Errorf("%q is taken for a strict object", b)
			}
		}
	})
}

// FuzzJOSEHeader: a header and a payload pass exactly if they are strict JSON
// and the header is free of what we refuse, and the library that verifies
// signatures reads the same from them.
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
			t.Fatalf("%q, %q: %v, and by the other reading it should pass: %t", header, payload, err, ok)
		}
		if err != nil {
			return
		}
		if h.Alg != want.Alg || h.Kid != want.Kid || h.Typ != want.Typ {
			t.Errorf("%q yields %+v, want %+v", header, h, want)
		}
		signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(h.Alg)})
		if err != nil {
			return // stricter than we are
		}
		theirs := signed.Signatures[0].Protected
		typ, _ := theirs.ExtraHeaders[jose.HeaderType].(string)
		if theirs.Algorithm != h.Alg || theirs.KeyID != h.Kid || typ != h.Typ || !bytes.Equal(signed.UnsafePayloadWithoutVerification(), payload) {
			t.Errorf("%q: we read %+v, go-jose %+v", header, h, theirs)
		}
	})
}

// oracleHeader reads a header by itself: into plain values, by exact names.
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

// strictJSON is strictObject written another way: encoding/json says whether
// the text is JSON at all, and the letters are walked for the rest.
func strictJSON(text []byte) bool {
	if !utf8.Valid(text) || !json.Valid(text) || !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		return false
	}
	var open []map[string]bool // the names seen in each object that is open; nil: a list
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

// FuzzParseForm: a request passes exactly if it is what RFC 6749 and our
// limits say, and then holds what url.ParseQuery finds.
func FuzzParseForm(f *testing.F) {
	f.Add(formType, "", "grant_type=refresh_token&client_id=web&refresh_token=x")
	f.Add(formType, "", "a="+strings.Repeat("x", MaxBody-1))          // a byte too many
	f.Add(formType, "", strings.Repeat("audience=x&", maxParameters)) // the empty last one counts
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
			t.Fatalf("%q, %q, %q: %v, and by the other reading it should pass: %t", contentType, query, body, err, ok)
		}
		if code := refusal(err); err != nil && code != "400 invalid_request" && (code != "413 invalid_request" || len(body) <= MaxBody) {
			t.Errorf("%q, %q, %q: %s", contentType, query, body, code)
		}
		if err == nil && (got.Encode() != want.Encode() || r.PostForm.Encode() != want.Encode() || r.Form.Encode() != want.Encode()) {
			t.Errorf("%q is read as %v, want %v", body, got, want)
		}
	})
}

// oracleForm reads a form by itself: one pair after the other.
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

// FuzzScope: what passes is the scope that was asked for, with each name once
// and no regard to extra spaces.
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
		asked := slices.DeleteFunc(strings.Split(text, " "), func(name string) bool { return name == "" })
		distinct := slices.Compact(slices.Sorted(slices.Values(asked)))
		if !slices.Equal(slices.Sorted(slices.Values(scopes)), distinct) || len(scopes) > MaxScopes {
			t.Errorf("%q is read as %q", text, scopes)
		}
		for _, s := range scopes {
			if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
				t.Errorf("%q yields %q", text, s)
			}
		}
	})
}

// FuzzTarget: a resource that passes is an absolute URI without a fragment as
// it stands, one that a client may be configured with among them, and only
// what is configured is granted.
func FuzzTarget(f *testing.F) {
	f.Add("https://api.example.com/v1?x=1", "https://api.example.com/v1?x=1")
	f.Fuzz(func(t *testing.T, configured, asked string) {
		form := url.Values{"resource": {asked}}
		targets, err := requestedTargets(form)
		if err != nil && refusal(err) != "400 invalid_target" {
			t.Errorf("%q: %v", asked, err)
		}
		if err == nil && !slices.Equal(targets, []string{asked}) {
			t.Errorf("%q is read as %q", asked, targets)
		}
		if scheme, rest, _ := strings.Cut(asked, ":"); err == nil && (scheme == "" || rest == "" || strings.ContainsAny(scheme, "/?#") || strings.Contains(asked, "#")) {
			t.Errorf("%q is taken for an absolute URI without a fragment", asked)
		}
		client := models.ClientSpec{ID: "web", ClientSettings: models.ClientSettings{
			Auth: models.AuthNone, Grants: []string{models.GrantTokenExchange}, Audiences: []string{configured},
		}}
		faults := models.ValidateTenants([]models.TenantSpec{{ID: "default", Clients: []models.ClientSpec{client}}}, "")
		if len(faults) > 0 {
			return
		}
		c := clientWith(client.ClientSettings)
		granted, err := grantTargets(c, form)
		if (err == nil) != (asked == configured && strings.Contains(asked, ":")) || err == nil && !slices.Equal(granted, []string{asked}) {
			t.Errorf("%q is granted %q for %q: %v", configured, granted, asked, err)
		}
		if granted, err := grantTargets(c, url.Values{"audience": {asked}}); err == nil && (asked != configured && asked != "web" || !slices.Equal(granted, []string{asked})) {
			t.Errorf("%q is granted %q for the audience %q", configured, granted, asked)
		}
	})
}

// readClaims is what a payload becomes on its way to an expression; nil if it
// does not get there.
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

// patience is far beyond what any evaluation takes: only one that never ends
// outlasts it.
const patience = 20 * time.Second

// ends fails the test if fn does not come to an end.
func ends(t *testing.T, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s has not ended", what)
	}
}

// FuzzMapUser: whatever the expressions of an issuer's entry and the claims of
// its token, a user comes of it who can be stored, or a refusal.
func FuzzMapUser(f *testing.F) {
	f.Fuzz(func(t *testing.T, subject, attribute string, payload []byte) {
		claims := readClaims(payload)
		if claims == nil {
			return
		}
		e := &issuerEntry{}
		e.Settings = models.IssuerSettings{Subject: subject, UserAttributes: map[string]string{"a": attribute}, SubjectPrefix: "idp:"}
		ends(t, "mapping", func() {
			var faults models.Faults
			if e.compile(&faults, "trusted_issuers[0]."); len(faults) > 0 {
				for _, fault := range faults {
					if !strings.HasPrefix(fault.Path, "trusted_issuers[0].") || fault.Problem == "" {
						t.Errorf("a fault without a place or a reason: %v", fault)
					}
				}
				return
			}
			s := &Subject{entry: e, claims: claims}
			err := s.mapUser(clientWith(models.ClientSettings{}))
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
			if err != nil || len(text) > 8*maxResult || strings.Contains(fmt.Sprint(s.userAttributes), "\x00") {
				t.Errorf("%d bytes of attributes, %v", len(text), err)
			}
		})
	})
}

// FuzzAllow: only the boolean true lets a token pass.
func FuzzAllow(f *testing.F) {
	store, err := models.Open(f.Context(), "sqlite:"+filepath.Join(f.TempDir(), "db"), models.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { store.Close() })
	if err := store.Migrate(f.Context()); err != nil {
		f.Fatal(err)
	}
	envs, err := environments()
	if err != nil {
		f.Fatal(err)
	}
	server := New(Config{Store: store, Keys: keysOf(f, rootA)})
	f.Fuzz(func(t *testing.T, rule string, payload []byte) {
		claims := readClaims(payload)
		if claims == nil {
			return
		}
		ends(t, rule, func() {
			allow, err := compile(envs.allow, rule, boolType)
			if err != nil {
				return
			}
			c := clientWith(models.ClientSettings{})
			c.allow = allow
			s := &Subject{entry: &issuerEntry{}, claims: claims, sub: "alice"}
			passes := server.checkPolicy(t.Context(), c, s)
			verdict, _, err := allow.program.Eval(map[string]any{
				"token": claims, "client": map[string]any{"id": "web", "name": "", "public": false}, "user": map[string]any{"sub": "alice"},
			})
			for optional, ok := verdict.(*types.Optional); ok && optional.HasValue(); optional, ok = verdict.(*types.Optional) {
				verdict = optional.GetValue()
			}
			if (passes == nil) != (err == nil && verdict == types.True) {
				t.Errorf("%s yields %v, %v, and lets pass: %t", rule, verdict, err, passes == nil)
			}
			if passes != nil && refusal(passes) != "400 invalid_request" {
				t.Errorf("%s: %v", rule, passes)
			}
		})
	})
}

// FuzzACRRule: only the boolean true holds, whatever a rule makes of what was
// proved.
func FuzzACRRule(f *testing.F) {
	envs, err := environments()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, rule, amr string, age int64) {
		ends(t, rule, func() {
			var faults models.Faults
			classes := compileClasses(envs.class, []models.ACRClass{{Value: "any", When: rule}}, "acr", &faults)
			var factors []session.Factor
			for method := range strings.FieldsSeq(amr) {
				factors = append(factors, session.Factor{AMR: method, Issuer: "https://auth.example.com", AuthTime: epoch.Add(-time.Duration(age))})
			}
			acr, failed := classes.Assurance(epoch, factors)
			switch {
			case acr != "" && (len(faults) > 0 || len(factors) == 0 || failed != nil):
				t.Errorf("%s holds over %q: %v, %v", rule, amr, faults, failed)
			case len(faults) > 0 && len(factors) > 0 && failed["any"] == nil:
				t.Errorf("%s has faults, and does not fail: %v", rule, faults)
			case len(faults) == 0 && len(factors) > 0:
				e, err := compile(envs.class, rule, boolType)
				if err != nil {
					t.Fatalf("%s compiles once: %v", rule, err)
				}
				if holds, err := e.holds(epoch, factors); (acr != "") != (holds && err == nil) {
					t.Errorf("%s yields %t, %v and %q", rule, holds, err, acr)
				}
			}
		})
	})
}

// FuzzCustomClaims: whatever its expression and what is known of the user, a
// claim is JSON within the limit or left out, and named if it is left out for
// another reason than that there is nothing.
func FuzzCustomClaims(f *testing.F) {
	envs, err := environments()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, first, second string, attributes []byte) {
		user := readClaims(attributes)
		if user == nil {
			return
		}
		ends(t, first+" and "+second, func() {
			var faults models.Faults
			c := clientWith(models.ClientSettings{})
			c.claims = compileMapping(envs.claim, map[string]string{"a": first, "b": second}, "claims", &faults)
			s := &models.Session{Subject: "alice", UserAttributes: user, Attributes: user, DeviceName: "a phone"}
			claims := map[string]any{}
			leftOut := addCustomClaims(newBudget(), c, s, statement{}, claims)
			text, err := encodeJSON(claims)
			if err != nil || len(text) > maxClaims+len("{}") {
				t.Errorf("%d bytes of claims, %v", len(text), err)
			}
			for name := range leftOut {
				if _, both := claims[name]; both || c.claims[name] == nil {
					t.Errorf("%s is left out, and is %v", name, claims[name])
				}
			}
			for name, e := range c.claims {
				_, filled := claims[name]
				if _, err := e.evaluate(map[string]any{"user": userVariable("alice", user), "session": sessionVariable(c.tenant, s, statement{})}); !filled && leftOut[name] == "" && !errors.Is(err, errMissing) {
					t.Errorf("%s is left out silently: %v", name, err)
				}
			}
			if len(faults)+len(c.claims) != 2 {
				t.Errorf("%d faults, and %d claims", len(faults), len(c.claims))
			}
		})
	})
}
