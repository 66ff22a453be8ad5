package oauth

import (
	"encoding/base64"
	"math"
	"runtime"
	"strings"
	"testing"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// compact is a token of the given texts with a signature of some bytes.
func compact(header, payload string) string {
	return b64(header) + "." + b64(payload) + "." + b64("sig")
}

func nested(depth int) string {
	return strings.Repeat(`{"a":`, depth-1) + `{}` + strings.Repeat("}", depth-1)
}

func TestCompactHeaderTakes(t *testing.T) {
	for name, c := range map[string]struct {
		header, payload string
		want            joseHeader
	}{
		"the least that a header has":       {`{"alg":"RS256"}`, `{}`, joseHeader{Alg: "RS256"}},
		"alg, kid and typ":                  {`{"alg":"ES256","kid":"k","typ":"JWT"}`, `{"a":1}`, joseHeader{Alg: "ES256", Kid: "k", Typ: "JWT"}},
		"members that it does not know":     {`{"alg":"RS256","jku":"https://evil","jwk":{},"x5u":"","x5c":[],"a":{"b":[1]}}`, `{}`, joseHeader{Alg: "RS256"}},
		"white space between members":       {" {\n\"alg\" :\t\"RS256\" } ", " {} ", joseHeader{Alg: "RS256"}},
		"escapes":                           {`{"\u0061lg":"RS\u0032\u0035\u0036"}`, `{}`, joseHeader{Alg: "RS256"}},
		"a kid of 256 bytes":                {`{"alg":"RS256","kid":"` + strings.Repeat("k", 256) + `"}`, `{}`, joseHeader{Alg: "RS256", Kid: strings.Repeat("k", 256)}},
		"a kid that looks like a path":      {`{"alg":"RS256","kid":"../../x' OR 1=1"}`, `{}`, joseHeader{Alg: "RS256", Kid: "../../x' OR 1=1"}},
		"a null where a member is optional": {`{"alg":"RS256","kid":null,"typ":null}`, `{}`, joseHeader{Alg: "RS256"}},
		"one name at two depths":            {`{"alg":"RS256"}`, `{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}`, joseHeader{Alg: "RS256"}},
		"sixteen levels":                    {`{"alg":"RS256"}`, nested(16), joseHeader{Alg: "RS256"}},
		"the exact names of members only":   {`{"alg":"RS256","typ":"at+jwt","ALG":"none","Typ":"JWT","KID":"k","Crit":["x"]}`, `{}`, joseHeader{Alg: "RS256", Typ: "at+jwt"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := compactHeader(compact(c.header, c.payload))
			if err != nil {
				t.Fatal(err)
			}
			if h.Alg != c.want.Alg || h.Kid != c.want.Kid || h.Typ != c.want.Typ {
				t.Errorf("%+v", h)
			}
		})
	}
}

func TestCompactHeaderRefuses(t *testing.T) {
	const rs = `{"alg":"RS256"}`
	good := compact(rs, `{"a":1}`)
	for name, token := range map[string]string{
		// R-JK-06, N-JK-1
		"alg none":                  compact(`{"alg":"none"}`, `{}`),
		"alg nOnE":                  compact(`{"alg":"nOnE"}`, `{}`),
		"an empty alg":              compact(`{"alg":""}`, `{}`),
		"a null alg":                compact(`{"alg":null}`, `{}`),
		"no alg":                    compact(`{"typ":"JWT"}`, `{}`),
		"an alg under another name": compact(`{"ALG":"RS256"}`, `{}`),
		"an alg that is no string":  compact(`{"alg":["RS256"]}`, `{}`),
		"a kid that is no string":   compact(`{"alg":"RS256","kid":1}`, `{}`),
		"a typ that is no string":   compact(`{"alg":"RS256","typ":{}}`, `{}`),
		// R-JK-08
		"nothing":                        "",
		"two parts":                      b64(rs) + "." + b64("{}"),
		"four parts":                     good + "." + b64("x"),
		"five parts, as a JWE has":       b64(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647}`) + ".a.b.c.d",
		"an empty header":                "." + b64("{}") + ".AAAA",
		"an empty payload":               b64(rs) + "..AAAA",
		"an empty signature":             b64(rs) + "." + b64("{}") + ".",
		"padding":                        b64(rs) + "." + b64("{}") + ".AA==",
		"a space":                        good + " ",
		"a newline inside the header":    good[:4] + "\n" + good[4:],
		"a newline inside the payload":   strings.Replace(good, ".", ".\n", 1),
		"a newline inside the signature": good[:len(good)-2] + "\n" + good[len(good)-2:],
		"unused bits that are set":       b64(rs) + "." + b64("{}") + ".AB",
		"letters of the other alphabet":  b64(rs) + "." + b64("{}") + ".++//",
		"the JSON serialization":         `{"payload":"` + b64("{}") + `","protected":"` + b64(rs) + `","signature":"AAAA"}`,
		"the general JSON serialization": `{"payload":"` + b64("{}") + `","signatures":[{"protected":"` + b64(rs) + `","signature":"A.A.A"}]}`,
		"a detached payload":             b64(`{"alg":"RS256","b64":false,"crit":["b64"]}`) + "..AAAA",
		"enc in three parts":             compact(`{"alg":"RS256","enc":"A128GCM"}`, `{}`),
		"zip":                            compact(`{"alg":"RS256","zip":"DEF"}`, `{}`),
		// R-JK-09
		"crit":          compact(`{"alg":"RS256","crit":["exp"]}`, `{}`),
		"an empty crit": compact(`{"alg":"RS256","crit":[]}`, `{}`),
		"a null crit":   compact(`{"alg":"RS256","crit":null}`, `{}`),
		"b64 false":     compact(`{"alg":"RS256","b64":false}`, `{}`),
		"b64 true":      compact(`{"alg":"RS256","b64":true}`, `{}`),
		// R-JK-10
		"two alg members":                            compact(`{"alg":"RS256","alg":"none"}`, `{}`),
		"two sub members":                            compact(rs, `{"sub":"alice","sub":"bob"}`),
		"two sub members, one of them escaped":       compact(rs, `{"sub":"alice","\u0073ub":"bob"}`),
		"two equal members of equal value":           compact(rs, `{"sub":"alice","sub":"alice"}`),
		"two members inside an object":               compact(rs, `{"a":{"b":1,"b":2}}`),
		"two members inside an object inside a list": compact(rs, `{"a":[1,[{"b":1,"b":2}]]}`),
		"two empty names":                            compact(rs, `{"":1,"":2}`),
		"invalid UTF-8 in the header":                compact("{\"alg\":\"RS256\",\"kid\":\"\xff\"}", `{}`),
		"invalid UTF-8 in the payload":               compact(rs, "{\"sub\":\"\xc3\"}"),
		"an overlong encoding":                       compact(rs, "{\"sub\":\"\xc0\xaf\"}"),
		"data after the header":                      compact(`{"alg":"RS256"}{}`, `{}`),
		"data after the payload":                     compact(rs, `{}{"sub":"bob"}`),
		"a brace too many":                           compact(rs, `{}}`),
		"a NUL after the payload":                    compact(rs, "{}\x00"),
		"a byte order mark":                          compact(rs, "\ufeff{}"),
		"a payload that is a list":                   compact(rs, `[]`),
		"a payload that is a string":                 compact(rs, `"eyJ"`),
		"a payload that is null":                     compact(rs, `null`),
		"a payload that is another token":            compact(rs, good),
		"a payload that is cut off":                  compact(rs, `{"a":1`),
		"a comma too many":                           compact(rs, `{"a":1,}`),
		"a comma too many in a list":                 compact(rs, `{"a":[1,]}`),
		"a name without quotes":                      compact(rs, `{a:1}`),
		"a name that is a number":                    compact(rs, `{1:1}`),
		"a name that is an object":                   compact(rs, `{{}:1}`),
		"a member without a value":                   compact(rs, `{"a"}`),
		"a list that ends as an object":              compact(rs, `{"a":[1}}`),
		"a comment":                                  compact(rs, `{"a":1/**/}`),
		"a number that is none":                      compact(rs, `{"exp":NaN}`),
		"a number with a leading zero":               compact(rs, `{"exp":01}`),
		"a control character in a string":            compact(rs, "{\"a\":\"\n\"}"),
		// R-JK-12, R-JK-18
		"a kid of 257 bytes":   compact(`{"alg":"RS256","kid":"`+strings.Repeat("k", 257)+`"}`, `{}`),
		"a kid of 10 kB":       compact(`{"alg":"RS256","kid":"`+strings.Repeat("k", 10_000)+`"}`, `{}`),
		"a header over 4 KiB":  compact(`{"alg":"RS256","a":"`+strings.Repeat("a", 4<<10)+`"}`, `{}`),
		"a token over 16 KiB":  compact(rs, `{"a":"`+strings.Repeat("a", 12<<10)+`"}`),
		"seventeen levels":     compact(rs, nested(17)),
		"a header that nests":  compact(`{"alg":"RS256","a":`+nested(16)+`}`, `{}`),
		"seventeen lists":      compact(rs, `{"a":`+strings.Repeat("[", 17)+strings.Repeat("]", 17)+`}`),
		"thousands of lists":   compact(rs, `{"a":`+strings.Repeat("[", 11_000)),
		"thousands of objects": compact(rs, strings.Repeat(`{"a":`, 2_000)),
	} {
		t.Run(name, func(t *testing.T) {
			if h, err := compactHeader(token); err == nil {
				t.Errorf("it is taken: %+v", h)
			}
		})
	}
}

// allocated is how many bytes fn allocates: the least of a few runs, since
// what else goes on is counted too.
func allocated(fn func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		fn()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

func TestCompactHeaderRefusesFloodsWithoutWork(t *testing.T) {
	for name, token := range map[string]string{
		"a megabyte of dots":        strings.Repeat(".", 1<<20),
		"16 KiB of dots":            strings.Repeat(".", 16<<10),
		"a megabyte of one part":    "a.b." + strings.Repeat("A", 1<<20),
		"a megabyte of open braces": b64(`{"alg":"RS256"}`) + "." + b64(strings.Repeat("{", 1<<20)) + ".AAAA",
	} {
		if spent := allocated(func() {
			if _, err := compactHeader(token); err == nil {
				t.Errorf("%s is taken", name)
			}
		}); spent > 16<<10 {
			t.Errorf("%s: %d bytes allocated", name, spent)
		}
	}
}
