package oauth

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// subjectOf returns a token of an entry whose good claims are replaced by the given ones.
func subjectOf(t *testing.T, s settings.IssuerSettings, claims string) *Subject {
	t.Helper()
	if s.TokenType == "" {
		s.TokenType = settings.TokenTypeJWT
	}
	s.Issuer = "https://auth.example.com"
	entry := &issuerEntry{TrustedIssuer: models.TrustedIssuer{ID: "entry", Settings: s}, audiences: []string{"ours", "also ours"}, acrValues: session.ACRValues}
	var faults settings.Faults
	if entry.compile(&faults, ""); len(faults) > 0 {
		t.Fatal(faults)
	}
	all := map[string]any{
		"iss": s.Issuer, "sub": "alice", "aud": "ours", "jti": "1", "iat": epoch.Unix(), "exp": epoch.Unix() + 60,
	}
	over, err := models.ParseObject([]byte(claims))
	if err != nil {
		t.Fatalf("%s: %v", claims, err)
	}
	maps.Copy(all, over)
	return &Subject{entry: entry, claims: all}
}

// reasonOf returns the reason of a refusal, or an empty reason.
func reasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	return asError(err).Reason
}

func at(offset float64) string { return fmt.Sprintf("%.3f", float64(epoch.Unix())+offset) }

func TestTimesOfASubjectToken(t *testing.T) {
	minute, none := settings.Duration(time.Minute), settings.Duration(0)
	strict := settings.IssuerSettings{Leeway: &none, MaxAge: &minute, MaxTokenLifetime: &minute}
	idToken := settings.IssuerSettings{TokenType: settings.TokenTypeIDToken}
	for _, row := range []struct {
		name   string
		of     settings.IssuerSettings
		claims string
		want   Reason // empty: accepted
	}{
		{"an exp that passed less than the leeway ago", settings.IssuerSettings{}, `{"iat":` + at(-60) + `,"exp":` + at(-29.999) + `}`, ""},
		{"an exp that passed the leeway ago", settings.IssuerSettings{}, `{"iat":` + at(-60) + `,"exp":` + at(-30) + `}`, ReasonSubjectTokenExpired},
		{"an exp of now, without leeway", strict, `{"iat":` + at(-10) + `,"exp":` + at(0) + `}`, ReasonSubjectTokenExpired},
		{"an iat within the leeway", settings.IssuerSettings{}, `{"iat":` + at(30) + `}`, ""},
		{"an iat beyond it", settings.IssuerSettings{}, `{"iat":` + at(30.001) + `}`, ReasonSubjectTokenNotYetValid},
		{"an nbf within the leeway", settings.IssuerSettings{}, `{"nbf":` + at(30) + `}`, ""},
		{"an nbf beyond it", settings.IssuerSettings{}, `{"nbf":` + at(31) + `}`, ReasonSubjectTokenNotYetValid},
		{"an nbf in the past", settings.IssuerSettings{}, `{"nbf":1}`, ""},
		{"an age of 5 minutes and the leeway", settings.IssuerSettings{}, `{"iat":` + at(-330) + `}`, ""},
		{"an age above that", settings.IssuerSettings{}, `{"iat":` + at(-330.001) + `}`, ReasonSubjectTokenTooOld},
		{"an age above the entry's limit", strict, `{"iat":` + at(-61) + `,"exp":` + at(1) + `}`, ReasonSubjectTokenTooOld},
		{"a lifetime of 10 minutes", settings.IssuerSettings{}, `{"exp":` + at(600) + `}`, ""},
		{"a lifetime above that", settings.IssuerSettings{}, `{"exp":` + at(600.001) + `}`, ReasonSubjectTokenLifetime},
		{"a lifetime above the entry's limit", strict, `{"exp":` + at(61) + `}`, ReasonSubjectTokenLifetime},
		{"an ID token with a lifetime of a day", idToken, `{"exp":` + at(86400) + `}`, ""},
		{"an ID token with a lifetime above a day", idToken, `{"exp":` + at(86401) + `}`, ReasonSubjectTokenLifetime},
		{"an ID token with an age above the limit", idToken, `{"iat":` + at(-331) + `,"exp":` + at(600) + `}`, ReasonSubjectTokenTooOld},
		{"fractions", settings.IssuerSettings{}, `{"iat":` + at(0.5) + `,"exp":` + at(59.25) + `,"nbf":` + at(0.125) + `}`, ""},
		{"scientific notation", settings.IssuerSettings{}, `{"exp":` + fmt.Sprintf("%.9e", float64(epoch.Unix()+60)) + `}`, ""},
		{"a null nbf counts as absent", settings.IssuerSettings{}, `{"nbf":null}`, ""},
		{"a null exp counts as absent", settings.IssuerSettings{}, `{"exp":null}`, ReasonSubjectTokenClaims},
		{"a null iat counts as absent", settings.IssuerSettings{}, `{"iat":null}`, ReasonSubjectTokenClaims},
		{"an exp that is a string", settings.IssuerSettings{}, `{"exp":"` + at(60) + `"}`, ReasonSubjectTokenClaims},
		{"an iat that is true", settings.IssuerSettings{}, `{"iat":true}`, ReasonSubjectTokenClaims},
		{"an nbf that is a list", settings.IssuerSettings{}, `{"nbf":[1]}`, ReasonSubjectTokenClaims},
		{"a zero exp", settings.IssuerSettings{}, `{"exp":0}`, ReasonSubjectTokenClaims},
		{"a negative iat", settings.IssuerSettings{}, `{"iat":-1}`, ReasonSubjectTokenClaims},
		{"an exp that is too large", settings.IssuerSettings{}, `{"exp":1e300}`, ReasonSubjectTokenClaims},
		{"an exp of 19 digits", settings.IssuerSettings{}, `{"exp":9223372036854775807}`, ReasonSubjectTokenClaims},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := subjectOf(t, row.of, row.claims)
			err := s.checkTimes(epoch)
			if reasonOf(err) != row.want {
				t.Fatalf("%v, want %q", err, row.want)
			}
			if exp, _, _ := numericDate(s.claims["exp"]); err == nil && s.spent.ExpiresAt.Before(exp.Add(s.entry.leeway())) {
				t.Errorf("its use is dropped at %v, while the token is still accepted", s.spent.ExpiresAt)
			}
		})
	}
}

func TestPartiesOfASubjectToken(t *testing.T) {
	c := clientWith(settings.ClientSettings{})
	jwt, idToken := settings.IssuerSettings{}, settings.IssuerSettings{TokenType: settings.TokenTypeIDToken}
	for _, row := range []struct {
		name     string
		of       settings.IssuerSettings
		claims   string
		accepted bool
	}{
		{"no client_id", jwt, `{}`, true},
		{"our client_id", jwt, `{"client_id":"web"}`, true},
		{"a null client_id counts as absent", jwt, `{"client_id":null}`, true},
		{"the client_id of another client", jwt, `{"client_id":"ios"}`, false},
		{"an empty client_id", jwt, `{"client_id":""}`, false},
		{"our client_id in capitals", jwt, `{"client_id":"WEB"}`, false},
		{"a list with our client_id", jwt, `{"client_id":["web"]}`, false},
		{"no azp and one audience", idToken, `{}`, true},
		{"an azp that is the audience", idToken, `{"azp":"ours"}`, true},
		{"an azp that is not an audience of the entry", idToken, `{"azp":"stranger"}`, false},
		{"an empty azp", idToken, `{"azp":""}`, false},
		{"an azp that is not a string", idToken, `{"azp":["ours"]}`, false},
		{"several audiences without azp", idToken, `{"aud":["ours","also ours"]}`, false},
		{"several audiences with azp", idToken, `{"aud":["ours","also ours"],"azp":"ours"}`, true},
		{"several audiences with an azp that is not among them", idToken, `{"aud":["ours","also ours"],"azp":"stranger"}`, false},
		{"a list of one audience without azp", idToken, `{"aud":["ours"]}`, true},
	} {
		if err := subjectOf(t, row.of, row.claims).checkParties(c); (err == nil) != row.accepted {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func TestTypOfASubjectToken(t *testing.T) {
	plain, own := &issuerEntry{}, &issuerEntry{TrustedIssuer: models.TrustedIssuer{Settings: settings.IssuerSettings{Typ: "Client-Token+jwt"}}}
	for typ, accepted := range map[string]bool{
		"": true, "JWT": true, "jwt": true, "application/jwt": true, "APPLICATION/JWT": true,
		"at+jwt": false, "AT+JWT": false, "application/at+jwt": false, "Application/At+Jwt": false, "token-introspection+jwt": false, "logout+jwt": false,
		"secevent+jwt": false, "statuslist+jwt": false, "dpop+jwt": false, "client-authentication+jwt": false,
		"JWS": false, "JOSE": false, " JWT": false, "at+jwt ": false, "client-token+jwt": false, "application/application/jwt": false,
	} {
		if err := plain.checkTyp(typ); (err == nil) != accepted {
			t.Errorf("typ %q: %v", typ, err)
		}
		if err := own.checkTyp(typ); (err == nil) != (accepted || typ == "client-token+jwt") {
			t.Errorf("typ %q where Client-Token+jwt is expected: %v", typ, err)
		}
	}
}

func TestAssertionsOfASubjectToken(t *testing.T) {
	asserts := func(most string, claims ...string) settings.IssuerSettings {
		return settings.IssuerSettings{Asserts: &claims, MaxACR: most}
	}
	earlier := `"auth_time":` + at(-3600)
	for _, row := range []struct {
		name, claims string
		of           settings.IssuerSettings
		amr, acr     string
		ago          time.Duration // of the authentication
	}{
		{"methods count, with the token's time", `{"amr":["pwd","otp"]}`, settings.IssuerSettings{}, "pwd otp", session.ACRTwoFactors, 0},
		{"auth_time counts", `{"amr":["pwd"],` + earlier + `}`, settings.IssuerSettings{}, "pwd", session.ACROneFactor, time.Hour},
		{"acr does not count unless the entry may assert it", `{"amr":["pwd"],"acr":"phr"}`, settings.IssuerSettings{}, "pwd", session.ACROneFactor, 0},
		{"acr counts if the entry may assert it", `{"amr":["pwd"],"acr":"phr"}`, asserts("", "amr", "acr"), "pwd", "phr", 0},
		{"acr counts up to the entry's maximum", `{"amr":["pwd"],"acr":"phrh"}`, asserts(session.ACRTwoFactors, "amr", "acr"), "pwd", session.ACRTwoFactors, 0},
		{"acr below the maximum is kept", `{"amr":["pwd"],"acr":"phr"}`, asserts("phrh", "amr", "acr"), "pwd", "phr", 0},
		{"an unlisted acr is ignored", `{"amr":["pwd"],"acr":"gold"}`, asserts("phrh", "amr", "acr"), "pwd", session.ACROneFactor, 0},
		{"methods count up to the maximum", `{"amr":["hwk","pin"]}`, settings.IssuerSettings{MaxACR: session.ACROneFactor}, "hwk pin", session.ACROneFactor, 0},
		{"methods do not count if the entry may not assert them", `{"amr":["hwk"],` + earlier + `}`, asserts("", "auth_time"), "", "", time.Hour},
		{"auth_time is iat if the entry may not assert it", `{"amr":["pwd"],` + earlier + `}`, asserts("", "amr"), "pwd", session.ACROneFactor, 0},
		{"no amr, no acr", `{"acr":"phrh"}`, asserts("", "amr", "acr"), "", "", 0},
		{"null is absent", `{"amr":null,"acr":null,"auth_time":null}`, asserts("", "amr", "acr", "auth_time"), "", "", 0},
		{"a repeated method counts once", `{"amr":["pwd","pwd"]}`, settings.IssuerSettings{}, "pwd", session.ACROneFactor, 0},
		{"an auth_time ahead by less than the leeway is iat", `{"auth_time":` + at(30) + `}`, settings.IssuerSettings{}, "", "", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := subjectOf(t, row.of, row.claims)
			if err := s.checkTimes(epoch); err != nil {
				t.Fatal(err)
			}
			if err := s.readAssertions(epoch); err != nil {
				t.Fatal(err)
			}
			amr, acr := strings.Join(session.AMR(s.factors), " "), session.Assurance(s.factors)
			if amr != row.amr || acr != row.acr || epoch.Sub(s.authTime) != row.ago {
				t.Errorf("amr %q, acr %q, %v ago", amr, acr, epoch.Sub(s.authTime))
			}
			for _, f := range s.factors {
				if f.Entry != "entry" || f.Issuer != "https://auth.example.com" || !f.AuthTime.Equal(s.authTime) {
					t.Errorf("factor %+v", f)
				}
			}
		})
	}
	for _, claims := range []string{
		`{"auth_time":` + at(31) + `}`, `{"auth_time":"` + at(0) + `"}`, `{"auth_time":0}`, `{"amr":"pwd"}`, `{"amr":{}}`, `{"amr":[1]}`, `{"amr":[null]}`,
		`{"amr":[""]}`, `{"amr":["a\u0000"]}`, `{"amr":["` + strings.Repeat("a", 65) + `"]}`, `{"amr":[` + strings.Repeat(`"a",`, 20) + `"a"]}`,
	} {
		if err := subjectOf(t, settings.IssuerSettings{}, claims).readAssertions(epoch); err == nil {
			t.Errorf("%s is accepted", claims)
		}
	}
}

func TestDigestOfASubjectToken(t *testing.T) {
	jwt, idToken := settings.IssuerSettings{}, settings.IssuerSettings{TokenType: settings.TokenTypeIDToken}
	digest := func(of settings.IssuerSettings, claims, input string) string {
		s := subjectOf(t, of, claims)
		if err := s.setDigest(input); err != nil {
			return "rejected"
		}
		return hexDigest(s.spent.Digest)
	}
	if a, b := digest(jwt, `{"jti":"a"}`, "x.y"), digest(jwt, `{"jti":"a"}`, "z.y"); a != b || len(a) != 64 {
		t.Errorf("one jti has two digests: %s %s", a, b)
	}
	if digest(jwt, `{"jti":"a"}`, "x.y") == digest(jwt, `{"jti":"A"}`, "x.y") {
		t.Error("two jti have the same digest")
	}
	if a, b := digest(idToken, `{"jti":null}`, "x.y"), digest(idToken, `{"jti":null}`, "x.z"); a == b || a == "rejected" || a != digest(idToken, `{"jti":null}`, "x.y") {
		t.Errorf("an ID token without jti has the digest %s, another one %s", a, b)
	}
	for _, claims := range []string{`{"jti":null}`, `{"jti":""}`, `{"jti":1}`, `{"jti":["a"]}`, `{"jti":"` + strings.Repeat("a", 1025) + `"}`} {
		if got := digest(jwt, claims, "x.y"); got != "rejected" {
			t.Errorf("%s has the digest %s", claims, got)
		}
		if got := digest(idToken, claims, "x.y"); got != "rejected" && claims != `{"jti":null}` {
			t.Errorf("an ID token with %s has the digest %s", claims, got)
		}
	}
}

func TestAudienceOfASubjectToken(t *testing.T) {
	e := &issuerEntry{audiences: []string{"https://id.example.com", "b"}}
	for text, accepted := range map[string]bool{
		`"https://id.example.com"`: true, `["https://id.example.com"]`: true, `["b","https://id.example.com"]`: true, `["b","b"]`: true,
		`"https://id.example.com/"`: false, `"https://id.example.com/token"`: false, `"HTTPS://ID.EXAMPLE.COM"`: false, `"c"`: false, `""`: false,
		`["https://id.example.com","c"]`: false, `[]`: false, `[""]`: false, `["b",7]`: false, `["b",null]`: false, `[["b"]]`: false,
		`null`: false, `7`: false, `true`: false, `{"b":"b"}`: false, `"b https://id.example.com"`: false,
	} {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		aud, err := stringOrList(value)
		if got := err == nil && e.acceptsAudience(aud); got != accepted {
			t.Errorf("aud %s: %t, %v", text, got, err)
		}
	}
}
