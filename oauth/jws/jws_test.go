package jws

import (
	"runtime"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testjose"
)

func TestParseAccepts(t *testing.T) {
	for name, c := range map[string]struct {
		header, payload string
		want            Header
	}{
		"the shortest header":               {`{"alg":"RS256"}`, `{}`, Header{Alg: "RS256"}},
		"alg, kid and typ":                  {`{"alg":"ES256","kid":"k","typ":"JWT"}`, `{"a":1}`, Header{Alg: "ES256", Kid: "k", Typ: "JWT"}},
		"unknown members":                   {`{"alg":"RS256","jku":"https://evil","jwk":{},"x5u":"","x5c":[],"a":{"b":[1]}}`, `{}`, Header{Alg: "RS256"}},
		"white space between members":       {" {\n\"alg\" :\t\"RS256\" } ", " {} ", Header{Alg: "RS256"}},
		"escapes":                           {`{"\u0061lg":"RS\u0032\u0035\u0036"}`, `{}`, Header{Alg: "RS256"}},
		"a kid of 256 bytes":                {`{"alg":"RS256","kid":"` + strings.Repeat("k", 256) + `"}`, `{}`, Header{Alg: "RS256", Kid: strings.Repeat("k", 256)}},
		"a kid that looks like a path":      {`{"alg":"RS256","kid":"../../x' OR 1=1"}`, `{}`, Header{Alg: "RS256", Kid: "../../x' OR 1=1"}},
		"a null where a member is optional": {`{"alg":"RS256","kid":null,"typ":null}`, `{}`, Header{Alg: "RS256"}},
		"one name at two depths":            {`{"alg":"RS256"}`, `{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}`, Header{Alg: "RS256"}},
		"sixteen levels":                    {`{"alg":"RS256"}`, testjose.Nested(16), Header{Alg: "RS256"}},
		"the exact names of members only":   {`{"alg":"RS256","typ":"at+jwt","ALG":"none","Typ":"JWT","KID":"k","Crit":["x"]}`, `{}`, Header{Alg: "RS256", Typ: "at+jwt"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := Parse(testjose.Compact(c.header, c.payload))
			if err != nil {
				t.Fatal(err)
			}
			if h.Alg != c.want.Alg || h.Kid != c.want.Kid || h.Typ != c.want.Typ {
				t.Errorf("%+v", h)
			}
		})
	}
}

func TestParseRejects(t *testing.T) {
	const rs = `{"alg":"RS256"}`
	good := testjose.Compact(rs, `{"a":1}`)
	for name, token := range map[string]string{
		// R-JK-06, N-JK-1
		"alg none":                    testjose.Compact(`{"alg":"none"}`, `{}`),
		"alg nOnE":                    testjose.Compact(`{"alg":"nOnE"}`, `{}`),
		"an empty alg":                testjose.Compact(`{"alg":""}`, `{}`),
		"a null alg":                  testjose.Compact(`{"alg":null}`, `{}`),
		"no alg":                      testjose.Compact(`{"typ":"JWT"}`, `{}`),
		"an alg under another name":   testjose.Compact(`{"ALG":"RS256"}`, `{}`),
		"an alg that is not a string": testjose.Compact(`{"alg":["RS256"]}`, `{}`),
		"a kid that is not a string":  testjose.Compact(`{"alg":"RS256","kid":1}`, `{}`),
		"a typ that is not a string":  testjose.Compact(`{"alg":"RS256","typ":{}}`, `{}`),
		// R-JK-08
		"nothing":                        "",
		"two parts":                      testjose.Base64(rs) + "." + testjose.Base64("{}"),
		"four parts":                     good + "." + testjose.Base64("x"),
		"five parts, as a JWE has":       testjose.Base64(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647}`) + ".a.b.c.d",
		"an empty header":                "." + testjose.Base64("{}") + ".AAAA",
		"an empty payload":               testjose.Base64(rs) + "..AAAA",
		"an empty signature":             testjose.Base64(rs) + "." + testjose.Base64("{}") + ".",
		"padding":                        testjose.Base64(rs) + "." + testjose.Base64("{}") + ".AA==",
		"a space":                        good + " ",
		"a newline inside the header":    good[:4] + "\n" + good[4:],
		"a newline inside the payload":   strings.Replace(good, ".", ".\n", 1),
		"a newline inside the signature": good[:len(good)-2] + "\n" + good[len(good)-2:],
		"unused bits that are set":       testjose.Base64(rs) + "." + testjose.Base64("{}") + ".AB",
		"letters of the other alphabet":  testjose.Base64(rs) + "." + testjose.Base64("{}") + ".++//",
		"the JSON serialization":         `{"payload":"` + testjose.Base64("{}") + `","protected":"` + testjose.Base64(rs) + `","signature":"AAAA"}`,
		"the general JSON serialization": `{"payload":"` + testjose.Base64("{}") + `","signatures":[{"protected":"` + testjose.Base64(rs) + `","signature":"A.A.A"}]}`,
		"a detached payload":             testjose.Base64(`{"alg":"RS256","b64":false,"crit":["b64"]}`) + "..AAAA",
		"enc in three parts":             testjose.Compact(`{"alg":"RS256","enc":"A128GCM"}`, `{}`),
		"zip":                            testjose.Compact(`{"alg":"RS256","zip":"DEF"}`, `{}`),
		// R-JK-09
		"crit":          testjose.Compact(`{"alg":"RS256","crit":["exp"]}`, `{}`),
		"an empty crit": testjose.Compact(`{"alg":"RS256","crit":[]}`, `{}`),
		"a null crit":   testjose.Compact(`{"alg":"RS256","crit":null}`, `{}`),
		"b64 false":     testjose.Compact(`{"alg":"RS256","b64":false}`, `{}`),
		"b64 true":      testjose.Compact(`{"alg":"RS256","b64":true}`, `{}`),
		// R-JK-10
		"two alg members":                            testjose.Compact(`{"alg":"RS256","alg":"none"}`, `{}`),
		"two sub members":                            testjose.Compact(rs, `{"sub":"alice","sub":"bob"}`),
		"two sub members, one of them escaped":       testjose.Compact(rs, `{"sub":"alice","\u0073ub":"bob"}`),
		"two equal members with equal values":        testjose.Compact(rs, `{"sub":"alice","sub":"alice"}`),
		"two members inside an object":               testjose.Compact(rs, `{"a":{"b":1,"b":2}}`),
		"two members inside an object inside a list": testjose.Compact(rs, `{"a":[1,[{"b":1,"b":2}]]}`),
		"two empty names":                            testjose.Compact(rs, `{"":1,"":2}`),
		"invalid UTF-8 in the header":                testjose.Compact("{\"alg\":\"RS256\",\"kid\":\"\xff\"}", `{}`),
		"invalid UTF-8 in the payload":               testjose.Compact(rs, "{\"sub\":\"\xc3\"}"),
		"an overlong encoding":                       testjose.Compact(rs, "{\"sub\":\"\xc0\xaf\"}"),
		"data after the header":                      testjose.Compact(`{"alg":"RS256"}{}`, `{}`),
		"data after the payload":                     testjose.Compact(rs, `{}{"sub":"bob"}`),
		"one brace too many":                         testjose.Compact(rs, `{}}`),
		"a NUL after the payload":                    testjose.Compact(rs, "{}\x00"),
		"a byte order mark":                          testjose.Compact(rs, "\ufeff{}"),
		"a payload that is a list":                   testjose.Compact(rs, `[]`),
		"a payload that is a string":                 testjose.Compact(rs, `"eyJ"`),
		"a payload that is null":                     testjose.Compact(rs, `null`),
		"a payload that is another token":            testjose.Compact(rs, good),
		"a truncated payload":                        testjose.Compact(rs, `{"a":1`),
		"one comma too many":                         testjose.Compact(rs, `{"a":1,}`),
		"one comma too many in a list":               testjose.Compact(rs, `{"a":[1,]}`),
		"a name without quotes":                      testjose.Compact(rs, `{a:1}`),
		"a name that is a number":                    testjose.Compact(rs, `{1:1}`),
		"a name that is an object":                   testjose.Compact(rs, `{{}:1}`),
		"a member without a value":                   testjose.Compact(rs, `{"a"}`),
		"a list that ends as an object":              testjose.Compact(rs, `{"a":[1}}`),
		"a comment":                                  testjose.Compact(rs, `{"a":1/**/}`),
		"NaN":                                        testjose.Compact(rs, `{"exp":NaN}`),
		"a number with a leading zero":               testjose.Compact(rs, `{"exp":01}`),
		"a control character in a string":            testjose.Compact(rs, "{\"a\":\"\n\"}"),
		// R-JK-12, R-JK-18
		"a kid of 257 bytes":   testjose.Compact(`{"alg":"RS256","kid":"`+strings.Repeat("k", 257)+`"}`, `{}`),
		"a kid of 10 kB":       testjose.Compact(`{"alg":"RS256","kid":"`+strings.Repeat("k", 10_000)+`"}`, `{}`),
		"a header over 4 KiB":  testjose.Compact(`{"alg":"RS256","a":"`+strings.Repeat("a", 4<<10)+`"}`, `{}`),
		"a token over 16 KiB":  testjose.Compact(rs, `{"a":"`+strings.Repeat("a", 12<<10)+`"}`),
		"seventeen levels":     testjose.Compact(rs, testjose.Nested(17)),
		"a header that nests":  testjose.Compact(`{"alg":"RS256","a":`+testjose.Nested(16)+`}`, `{}`),
		"seventeen lists":      testjose.Compact(rs, `{"a":`+strings.Repeat("[", 17)+strings.Repeat("]", 17)+`}`),
		"thousands of lists":   testjose.Compact(rs, `{"a":`+strings.Repeat("[", 11_000)),
		"thousands of objects": testjose.Compact(rs, strings.Repeat(`{"a":`, 2_000)),
	} {
		t.Run(name, func(t *testing.T) {
			if h, err := Parse(token); err == nil {
				t.Errorf("accepted as %+v", h)
			}
		})
	}
}

func TestParseRejectsFloodsWithoutWork(t *testing.T) {
	for name, token := range map[string]string{
		"a megabyte of dots":        strings.Repeat(".", 1<<20),
		"16 KiB of dots":            strings.Repeat(".", 16<<10),
		"a megabyte of one part":    "a.b." + strings.Repeat("A", 1<<20),
		"a megabyte of open braces": testjose.Base64(`{"alg":"RS256"}`) + "." + testjose.Base64(strings.Repeat("{", 1<<20)) + ".AAAA",
	} {
		if spent := allocated(func() {
			if _, err := Parse(token); err == nil {
				t.Errorf("%s is accepted", name)
			}
		}); spent > 16<<10 {
			t.Errorf("%s: %d bytes allocated", name, spent)
		}
	}
}

// allocated returns how many bytes fn allocates.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
