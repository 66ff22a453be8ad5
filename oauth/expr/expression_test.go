package expr

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// someToken returns the variable `token` for the expressions of these tests.
func someToken(t *testing.T) map[string]any {
	t.Helper()
	claims, err := models.ParseObject([]byte(`{
		"sub": "alice", "id": 9007199254740993, "whole": 7, "half": 7.5, "one": 1.0, "huge": 18446744073709551616, "yes": true,
		"nothing": null, "amr": ["hwk", "pin"], "none": [], "mixed": ["a", null, {"b": 1}],
		"address": {"city": "Bern", "street": null}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func issuerExpression(t *testing.T, text string) *Expression {
	t.Helper()
	envs, err := Environments()
	if err != nil {
		t.Fatal(err)
	}
	e, err := envs.Issuer.Compile(text, nil)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

func TestExpressionYields(t *testing.T) {
	variables := map[string]any{"token": someToken(t)}
	for text, want := range map[string]string{ // as JSON
		`token.sub`:                    `"alice"`,
		`token.id`:                     `9007199254740993`,
		`token.id == 9007199254740993`: `true`,
		`token.id + 1`:                 `9007199254740994`,
		`token.half`:                   `7.5`,
		`token.amr`:                    `["hwk","pin"]`,
		`token.mixed`:                  `["a",null,{"b":1}]`,
		`token.address`:                `{"city":"Bern","street":null}`,
		`{'a': null, 'b': [1u]}`:       `{"a":null,"b":[1]}`,
		`token.amr.exists(m, m in ['hwk','otp'])`: `true`,
		`token.amr.exists(m, m == 'sms')`:         `false`,
		`token.amr.map(m, m + '!')`:               `["hwk!","pin!"]`,
		`has(token.plan) ? token.plan : 'free'`:   `"free"`,
		`has(token.sub) ? token.sub : 'free'`:     `"alice"`,
		// Numbers compare across their types.
		`token.whole < token.half`:                 `true`,
		`token.one == 1`:                           `true`,
		`token.whole == 7.0`:                       `true`,
		`token.huge > 9223372036854775807`:         `true`,
		`token.id > 1.5 && 1.5 < token.id`:         `true`,
		`token.whole in [7.0]`:                     `true`,
		`token.whole == 'seven'`:                   `false`,
		`token.whole >= 7u`:                        `true`,
		`size(token.amr) > 1.5`:                    `true`,
		`string(token.id)`:                         `"9007199254740993"`,
		`token.sub + '@' + token['address'].city`:  `"alice@Bern"`,
		`token.sub.startsWith('al')`:               `true`,
		`token.sub.matches('^[a-z]+$')`:            `true`,
		`token.?plan.orValue('free')`:              `"free"`,
		`token.?sub`:                               `"alice"`,
		`token.?address.?city`:                     `"Bern"`,
		`optional.of([1])`:                         `[1]`,
		`b'\x00\xff'`:                              `"AP8="`,
		`timestamp('2026-01-02T03:04:05+01:00')`:   `"2026-01-02T02:04:05Z"`,
		`duration('90s')`:                          `"1m30s"`,
		`token.missing == 1 || token.yes`:          `true`, // the other side decides
		`!has(token.missing) || token.missing > 1`: `true`,
	} {
		value, err := issuerExpression(t, text).Evaluate(variables)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, _ := json.Marshal(value); string(got) != want {
			t.Errorf("%s yields %s, want %s", text, got, want)
		}
	}
}

func TestExpressionLeavesOut(t *testing.T) {
	variables := map[string]any{"token": someToken(t)}
	for _, text := range []string{
		`token.missing`, `token['missing']`, `token.missing.city`, `token.address.zip`, `token.missing + 1`, `size(token.missing)`,
		`[token.missing]`, `has(token.missing.city)`, `token.yes && token.missing`,
		`null`, `token.nothing`, `token.nothing.city`, `token.address.street`, `token.address.street.number`,
		`token.?missing`, `token.?missing.?city`, `token.?address.?zip`, `token.?nothing`, `optional.none()`, `optional.of(token.nothing)`,
	} {
		if value, err := issuerExpression(t, text).Evaluate(variables); !errors.Is(err, ErrMissing) {
			t.Errorf("%s yields %v, %v", text, value, err)
		}
	}
}

func TestExpressionFails(t *testing.T) {
	variables := map[string]any{"token": someToken(t)}
	variables["token"].(map[string]any)["list"] = make([]any, 400)
	variables["token"].(map[string]any)["infinite"] = math.Inf(1)
	variables["token"].(map[string]any)["vast"] = strings.Repeat("a", MaxResult+1)
	for text, want := range map[string]string{
		`token.sub + 1`:         "no such overload",
		`token.sub ? 1 : 2`:     "no such overload",
		`token.whole / 0`:       "division by zero",
		`token.none[0]`:         "index out of bounds",
		`token.id * token.id`:   "integer overflow",
		`int(token.sub)`:        "type conversion error",
		`double(token.id) / .0`: "is not a number",
		`token.infinite`:        "is not a number",
		`[token.infinite]`:      "is not a number",
		`{1: 'a'}`:              "a name that is not a string",
		`type(token)`:           "has no JSON form",
		`{'a': type(token)}`:    "has no JSON form",
		`token.vast`:            "yields too much",
		`[1]` + strings.Repeat(`.map(a, [a, a])`, 40):                     "cost limit exceeded", // 2⁴⁰ values, of which CEL stores 40
		`token.list.all(a, token.list.all(b, true))`:                      "cost limit exceeded",
		`[1,2,3,4,5,6,7,8].map(a, token.list.map(b, token.sub + 'long'))`: "cost limit exceeded",
	} {
		value, err := issuerExpression(t, text).Evaluate(variables)
		if err == nil || errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s yields %v, %v; want %q", text, value, err, want)
		}
	}
}

func TestCompile(t *testing.T) {
	envs, err := Environments()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		env  *Env
		text string
		want *cel.Type
		err  string // prefix of the error; empty: none
	}{
		{"reports an unknown variable", envs.Claim, "usr.email", nil, "undeclared reference to 'usr'"},
		{"reports an unknown function", envs.Claim, "upper(user.email)", nil, "undeclared reference to 'upper'"},
		{"reports a missing overload", envs.Claim, "'a' + 1", nil, "found no matching overload for '_+_' applied to '(string, int)'"},
		{"reports a syntax error", envs.Claim, "user.email ==", nil, "is not valid CEL"},
		{"suggests == for =", envs.Claim, "user.plan = 'pro'", nil, "is not valid CEL: use == to compare"},
		{"suggests == for = at the end", envs.Claim, "user.plan =", nil, "is not valid CEL: use == to compare"},
		{"suggests == for ===", envs.Claim, "user.plan === 'pro'", nil, "is not valid CEL: use == and !="},
		{"suggests != for <>", envs.Claim, "user.plan <> 'pro'", nil, "is not valid CEL: use !="},
		{"suggests operators for words", envs.Claim, "user.a and user.b", nil, "is not valid CEL: use &&, || and !"},
		{"suggests && for &", envs.Claim, "user.a & user.b", nil, "is not valid CEL: use &&"},
		{"suggests || for |", envs.Claim, "user.a | user.b", nil, "is not valid CEL: use ||"},
		{"does not treat = in a string as an operator", envs.Claim, "user.a == 'x = y' user.b", nil, "is not valid CEL: mismatched input 'user' expecting <EOF>"},
		{"does not treat <= as =", envs.Claim, "user.a <= 1 user.b", nil, "is not valid CEL: mismatched input 'user' expecting <EOF>"},
		{"reports a character that is not part of CEL", envs.Claim, "user.a == `x", nil, "is not valid CEL: unexpected character: '`x'"},
		{"rejects an empty expression", envs.Claim, "", nil, "is not valid CEL"},
		{"hides token from claims", envs.Claim, "token.email", nil, "undeclared reference to 'token'"},
		{"hides user from issuers", envs.Issuer, "user.email", nil, "undeclared reference to 'user'"},
		{"hides session from rules", envs.Allow, "session.acr == 'phr'", Bool, "undeclared reference to 'session'"},
		{"provides token, client and user to rules", envs.Allow, "token.a == client.id && user.b", Bool, ""},
		{"provides user and session to claims", envs.Claim, "[user.a, session.b]", nil, ""},

		{"accepts a string for a subject", envs.Issuer, "'u:' + token.sub", String, ""},
		{"accepts what may be a string", envs.Issuer, "token.sub", String, ""},
		{"accepts an optional that may be a string", envs.Issuer, "token.?sub", String, ""},
		{"accepts an optional string", envs.Issuer, "optional.of('u')", String, ""},
		{"accepts a choice between strings", envs.Issuer, "has(token.sub) ? token.sub : 'u'", String, ""},
		{"rejects a number as subject", envs.Issuer, "size(token.sub)", String, "yields int, but must yield string"},
		{"rejects a list as subject", envs.Issuer, "['u']", String, "yields list(string), but must yield string"},
		{"rejects null as subject", envs.Issuer, "null", String, "yields null_type, but must yield string"},
		{"rejects an optional number as subject", envs.Issuer, "optional.of(1)", String, "yields optional_type(int), but must yield string"},
		{"accepts a comparison as a rule", envs.Allow, "token.amr == ['hwk']", Bool, ""},
		{"accepts what may be true as a rule", envs.Allow, "token.verified", Bool, ""},
		{"accepts an optional that may be true as a rule", envs.Allow, "token.?verified", Bool, ""},
		{"rejects a string as a rule", envs.Allow, "'true'", Bool, "yields string, but must yield bool"},
		{"rejects a number as a rule", envs.Allow, "1", Bool, "yields int, but must yield bool"},
		{"accepts any type as a claim", envs.Claim, "{'a': [1, 'b', 2.5]}", nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := row.env.Compile(row.text, row.want)
			if (err == nil) != (row.err == "") || err != nil && !strings.HasPrefix(err.Error(), row.err) {
				t.Errorf("%v, want %q", err, row.err)
			}
		})
	}
	if _, err := envs.Claim.Compile("usr.email", nil); err == nil || err.Error() != "undeclared reference to 'usr'" {
		t.Errorf("the whole message is %v", err)
	}
}

func TestMappingReturnsTheValuesThatEvaluate(t *testing.T) {
	envs, err := Environments()
	if err != nil {
		t.Fatal(err)
	}
	var faults settings.Faults
	m := envs.Issuer.CompileMapping(map[string]string{
		"name": "token.sub", "plan": "token.plan", "street": "token.address.street", "sum": "token.sub + 1", "typo": "tokn.sub", "half": "1 +",
	}, "user_attributes", &faults)
	if len(faults) != 2 || faults[0].Path != "user_attributes.half" || faults[1].String() != "user_attributes.typo: undeclared reference to 'tokn'" {
		t.Errorf("faults: %v", faults)
	}
	failed := map[string]string{}
	values := m.Evaluate(NewBudget(), map[string]any{"token": someToken(t)}, func(name string, err error) { failed[name] = err.Error() })
	if !reflect.DeepEqual(values, map[string]any{"name": "alice"}) || !reflect.DeepEqual(failed, map[string]string{"sum": "no such overload: an operator or function was applied to a value of another type"}) {
		t.Errorf("values %v, failed %v", values, failed)
	}
	if envs.Issuer.CompileMapping(nil, "", &faults).Evaluate(nil, nil, nil) != nil {
		t.Error("no mapping fills something")
	}
}
