package expr

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestExpressionsHaveStringsEncodersListsAndSets(t *testing.T) {
	variables := map[string]any{"token": someToken(t)}
	for text, want := range map[string]string{ // as JSON
		`token.sub.upperAscii().lowerAscii()`:                  `"alice"`,
		`'a@b.c'.split('@')[1]`:                                `"b.c"`,
		`token.amr.join(' ')`:                                  `"hwk pin"`,
		`token.amr.join()`:                                     `"hwkpin"`,
		`token.sub.replace('l', 'L')`:                          `"aLice"`,
		`'aaa'.replace('a', 'b', 2)`:                           `"bba"`,
		`' x '.trim()`:                                         `"x"`,
		`token.sub.substring(1, 3)`:                            `"li"`,
		`token.sub.charAt(0) + string(token.sub.indexOf('c'))`: `"a3"`,
		`'%s-%d'.format([token.sub, 7])`:                       `"alice-7"`,
		`base64.encode(b'hi')`:                                 `"aGk="`,
		`string(base64.decode('aGk='))`:                        `"hi"`,
		`[3, 1, 3, 2].distinct().sort()`:                       `[1,2,3]`,
		`[[1], [2]].flatten()`:                                 `[1,2]`,
		`lists.range(3)`:                                       `[0,1,2]`,
		`token.amr.slice(0, 1)`:                                `["hwk"]`,
		`sets.intersects(token.amr, ['hwk'])`:                  `true`,
		`sets.contains(token.amr, ['sms'])`:                    `false`,
		`sets.equivalent(['pin', 'hwk'], token.amr)`:           `true`,
	} {
		got, err := issuerExpression(t, text).Evaluate(variables)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if j, _ := json.Marshal(got); string(j) != want {
			t.Errorf("%s yields %s, want %s", text, j, want)
		}
	}
}

func TestEvaluationErrorsQuoteNoValue(t *testing.T) {
	const secret = "4111-1111-[secret"
	variables := map[string]any{"token": map[string]any{"n": secret, "list": []any{secret}, "map": map[string]any{secret: 1}}}
	for text, want := range map[string]string{
		`'x'.matches(token.n)`:              "invalid regular expression",
		`int(token.n)`:                      "type conversion error",
		`timestamp(token.n)`:                "evaluation failed",
		`duration(token.n)`:                 "type conversion error",
		`double(token.n)`:                   "type conversion error",
		`token.n + 1`:                       "no such overload: an operator or function was applied to a value of another type",
		`token.list[7]`:                     "index out of bounds",
		`token.n.charAt(100)`:               "index out of bounds",
		`base64.decode(token.n)`:            "evaluation failed",
		`token.n.format([1])`:               "",
		`'%d'.format([token.n])`:            "evaluation failed",
		`1 / 0`:                             "division by zero",
		`9223372036854775807 + size(token)`: "integer overflow",
		`{token.n: 1}[token.n + 'x']`:       "yields nothing",
		`type(token.n)`:                     "yields type, which has no JSON form",
		`{1: token.n}`:                      "yields an object with a name that is not a string",
	} {
		_, err := issuerExpression(t, text).Evaluate(variables)
		if err != nil && strings.Contains(err.Error(), "4111") {
			t.Errorf("%s quotes the value: %v", text, err)
		}
		if got := fmt.Sprint(err); want != "" && got != want {
			t.Errorf("%s fails with %q, want %q", text, got, want)
		}
	}
}
