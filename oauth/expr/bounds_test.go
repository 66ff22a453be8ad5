package expr

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
)

const (
	maxAllocated = 64 << 20 // bytes that one evaluation may allocate, garbage included

	tooLong = "the result would be too long"
	tooDear = "cost limit exceeded"
)

// totalAllocated returns the number of bytes that the process has allocated so far.
func totalAllocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// times repeats a part of an expression.
func times(n int, step string) string { return strings.Repeat(step, n) }

// vastVariables returns variables about as large as the largest request.
func vastVariables() map[string]any {
	numbers, texts, rows := make([]any, 4000), make([]any, 4000), make([]any, 100)
	for i := range numbers {
		numbers[i], texts[i] = int64(i), fmt.Sprint(i)
	}
	for i := range rows {
		rows[i] = numbers[:100]
	}
	var deep any = "end"
	for range 1000 {
		deep = []any{deep}
	}
	return map[string]any{
		"token": map[string]any{
			"long": times(16<<10, "a"), "longer": times(40<<10, "a"), "escaped": times(12<<10, "\x01"), "time": "2026-01-02T03:04:05Z",
			"number": int64(7), "numbers": numbers, "texts": texts, "rows": rows, "deep": deep, "object": map[string]any{"rows": rows, "texts": texts},
		},
		"factors": []Factor{{AMR: "pwd", Issuer: "https://auth.example.com"}}, "amr": []string{"pwd"}, "kinds": []string{"knowledge"},
	}
}

func anyExpression(t *testing.T, text string) *Expression {
	t.Helper()
	envs, err := Environments()
	if err != nil {
		t.Fatal(err)
	}
	env := envs.Issuer
	if strings.Contains(text, "expr.Factor") || strings.Contains(text, "factors") {
		env = envs.Class
	}
	e, err := env.Compile(text, nil)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

// TestNoExpressionBuildsOrWalksMuch evaluates expressions that build or walk many
// times the size of their variables. CEL counts almost nothing for them, or counts
// when the work is done.
func TestNoExpressionBuildsOrWalksMuch(t *testing.T) {
	var (
		doubled = times(40, `.map(x, x + x)`)  // lists or text
		paired  = times(40, `.map(x, [x, x])`) // by reference: CEL stores 40 lists of two
		keyed   = times(40, `.map(x, {'a': x, 'b': x})`)
		large   = `[lists.range(1000)]` + times(4, `.map(x, x + x)`) + `[0]` // 16,000 elements: within the limits
		shared  = `[[1, 2, 3]]` + times(12, `.map(x, [x, x])`) + `[0]`       // 3 · 4096
	)
	with := func(b, text string) string { return `[` + b + `].map(B, ` + text + `)` }
	often := func(text string) string { return `lists.range(500).all(i, ` + text + `)` }

	variables, class := vastVariables(), "\\\\pL"
	for _, text := range []string{
		// `+`.
		`[lists.range(1000)]` + doubled,
		`[token.numbers]` + doubled,
		`[dyn(token.numbers)]` + doubled + ` == []`,
		`['0123456789abcdef']` + doubled,
		`[b'0123456789abcdef']` + doubled,
		`[token.longer]` + doubled,
		`[{'a': [1]}]` + times(40, `.map(x, {'a': x.a + x.a})`),
		`optional.of([1])` + times(40, `.optMap(x, x + x)`),
		`optional.of([1])` + times(40, `.optFlatMap(x, optional.of(x + x))`),
		`[[1]]` + times(40, `.sortBy(x, 1).map(x, x + x)`),
		with(large, times(5, `B + `)+`B`),
		with(large, `lists.range(9).map(i, B + B)`),
		with(large, often(`B + [i] != []`)),
		`'a' + ` + times(3, `token.longer + `) + `'a'`,

		// Literals.
		`[token.number]` + paired,
		`[token.number]` + keyed,
		`[token.number]` + times(40, `.map(x, [?optional.of(x), ?optional.of(x)])`),
		`[token.number]` + times(40, `.map(x, {?'a': optional.of(x), ?'b': optional.of(x)})`),
		`[token.number]` + times(40, `.map(x, optional.of([x, x]))`),
		`[dyn(1)]` + times(40, `.map(x, google.protobuf.ListValue{values: [x, x]})`),
		`[dyn(1)]` + times(40, `.map(x, google.protobuf.Value{list_value: [x, x]})`),
		`[dyn(1)]` + times(40, `.map(x, google.protobuf.Struct{fields: {'a': x, 'b': x}})`),
		`[dyn([1])]` + times(40, `.map(x, google.protobuf.Value{list_value: x + x})`),
		`[factors]` + paired + ` == []`,
		`[expr.Factor{amr: '` + times(1000, "a") + `'}]` + paired + ` == []`,
		`[1]` + times(40, `.map(x, [x])`), // a text of it in an error would be copied at each level
		`[token.deep]`,
		`{'deep': token.deep}`,

		// map() and filter().
		`token.numbers.map(x, token.numbers)`,
		`size(lists.range(9).map(x, token.longer)) > 0`,
		`lists.range(30).map(x, token.rows)`,
		`lists.range(100).map(x, lists.range(100).map(y, lists.range(9)))`,
		with(large, `[0, 1, 2, 3, 4, 5].map(i, B)`),
		with(large, `[B, B].map(i, B.filter(b, true))`),
		with(shared, `[0, 1, 2, 3, 4, 5].map(i, B)`),

		// Comparisons, of lists in lists too.
		`[token.number]` + paired + ` == [token.number]` + paired,
		`[token.number]` + paired + ` != [token.number]` + paired,
		`[token.number]` + paired + ` in [[token.number]` + paired + `]`,
		with(large, often(`[B, B] == [B, B]`)),
		with(large, often(`B in [B, B]`)),
		with(large, often(`!(-1 in B)`)), often(`!(-1 in token.numbers)`),
		with(large, `B.map(b, b in B)`),
		with(shared, often(`[B, B] == [B, B]`)),
		with(shared, often(`[B, B] != [[], B]`)),
		with(shared, often(`{'a': B} == {'a': B}`)),
		with(shared, often(`optional.of(B) == optional.of(B)`)),
		with(shared, often(`B in [B, B]`)),
		with(shared, often(`[B, B][0] != []`)),
		often(`token == token`),
		`token.deep == token.deep`,
		often(`token.longer != token.long`),
		often(`token.longer < token.longer + 'a'`),

		// Functions of lists.
		with(large, `B.sort()`), with(large, `B.sortBy(x, -x)`), with(large, `B.distinct()`), with(large, often(`B.reverse() != []`)),
		with(large, often(`B.slice(0, 10000) != []`)), with(large, often(`[B].flatten() != []`)),
		with(large, `sets.contains(B, B)`), with(large, `sets.intersects(B, B.map(x, -1))`), with(large, `sets.equivalent(B, B)`),
		with(large, often(`sets.contains([B], [B])`)),
		with(shared, often(`B.flatten(100) != []`)), with(shared, often(`sets.contains([B], [B])`)), with(shared, often(`sets.equivalent([B, B], [B])`)),
		with(shared, often(`[B, B].distinct() == [B]`)),
		with(large, often(`optional.unwrap([optional.of(B)]) != []`)), with(large, often(`[optional.of(B)].unwrapOpt() != []`)),
		`lists.range(1000000000)`,
		`[lists.range(1000)].map(x, x + x + x)` + times(25, `.map(x, [x])`) + `.flatten(30)`,

		// Text.
		`token.long.replace('', token.long)`, `token.long.replace('a', token.long)`, `token.long.replace('a', token.long, 100000)`,
		`token.texts.join(token.long)`, `token.texts.join('0123456789abcdef')`, `lists.range(600).map(i, token.long).join()`,
		with(`[token.long]`, `(B + B + B + B + B).join()`),
		`'%s%s%s%s%s'.format([token.long, token.long, token.long, token.long, token.long])`,
		with(large, `'%s %s %s %s %s'.format([B, B, B, B, B])`), with(large, often(`'%s'.format([B]) != ''`)), `[[-1.0e308]]` + times(14, `.map(x, x + x)`) + `.map(B, ` + often(`'%s'.format([B]) != ''`) + `)`, with(shared, `'%s'.format([[B, B, B, B, B, B]])`),
		often(`'%s'.format([token.longer]) != ''`), often(`'%s'.format([token.object]) != ''`), `'%s'.format([token.deep])`,
		`['x', dyn(token.deep)].join()`,
		with(large, `json.encode([B, B, B, B, B])`), often(`json.encode(token.numbers) != ''`), often(`json.encode(token.escaped) != 'a'`), often(`json.encode(token.object) != ''`),
		often(`token.longer.split('') != []`), `token.longer.split('')`, `token.longer.indexOf(token.long + 'b')`, `token.longer.lastIndexOf('b' + token.long)`,
		often(`base64.encode(bytes(token.longer)) != ''`), `base64.encode(bytes(token.longer + token.long))`, often(`base64.decode(token.longer) != b''`),
		often(`strings.quote(token.escaped) != ''`), often(`token.longer.reverse() != ''`), often(`size(token.longer) > 3`), often(`string(bytes(token.longer)) != ''`),

		// Regular expressions, which the expression or the token states.
		`token.longer.matches('(.{999})(.{999})(.{999})(.{999})$')`, `token.long.matches('^a{2,1000}b')`, `token.long.matches(token.long)`,
		often(`!'a'.matches('` + times(100, `(.{999})`) + `')`), often(`!token.time.matches('` + times(100, class) + `' + token.time)`),
		`['(.{999})']` + times(9, `.map(x, x + x)`) + `.map(x, token.time.matches(x))`, `'a'.matches('` + times(1500, class) + `')`,

		often(`timestamp(token.time).getHours('Europe/Zurich') >= 0`),
	} {
		e := anyExpression(t, text)
		b, before := NewBudget(), totalAllocated()
		_, err := e.evaluateWithin(b, variables)
		bytes := totalAllocated() - before
		if err == nil || err.Error() != tooLong && err.Error() != tooDear {
			t.Errorf("%s: %v", text, err)
		}
		if bytes > maxAllocated {
			t.Errorf("%s: allocates %d MB", text, bytes>>20)
		}
		if err != nil && err.Error() == tooDear && requestCost-b.left < expressionCost {
			t.Errorf("%s: costs the request %d", text, requestCost-b.left)
		}
	}
}

// TestAnExpressionDoesNotOutliveItsLimit checks that `||` and exists(), which ignore
// errors, do not ignore the limit.
func TestAnExpressionDoesNotOutliveItsLimit(t *testing.T) {
	for _, text := range []string{
		`[token.number].map(x, lists.range(999).all(i, token.numbers == token.numbers) || true)`,
		`lists.range(300).exists(i, json.encode(token.object) == '') || true`,
		`sets.equivalent(token.numbers, token.texts) || true`,
	} {
		if got, err := anyExpression(t, text).Evaluate(vastVariables()); err == nil || err.Error() != tooDear {
			t.Errorf("%s yields %v, %v", text, got, err)
		}
	}
}

// doubling returns a value that contains the same value twice, n levels deep.
func doubling(n int, of func(ref.Val) ref.Val) ref.Val {
	v := ref.Val(types.String("0123456789abcdef"))
	for range n {
		v = of(v)
	}
	return v
}

// TestSharedPartsCountAsOftenAsTheyOccur checks each kind of value that CEL has or
// converts.
func TestSharedPartsCountAsOftenAsTheyOccur(t *testing.T) {
	adapter := types.DefaultTypeAdapter
	for name, of := range map[string]func(ref.Val) ref.Val{
		"a list of values": func(v ref.Val) ref.Val { return types.NewRefValList(adapter, []ref.Val{v, v}) },
		"a Go list":        func(v ref.Val) ref.Val { return adapter.NativeToValue([]any{v, v}) },
		"a Go array":       func(v ref.Val) ref.Val { return adapter.NativeToValue([2]any{v, v}) },
		"a sum of lists": func(v ref.Val) ref.Val {
			return adapter.NativeToValue([]ref.Val{v}).(interface{ Add(ref.Val) ref.Val }).Add(adapter.NativeToValue([]ref.Val{v}))
		},
		"a growing list": func(v ref.Val) ref.Val { return types.NewMutableList(adapter).Add(adapter.NativeToValue([]any{v, v})) },
		"an object": func(v ref.Val) ref.Val {
			return adapter.NativeToValue(map[ref.Val]ref.Val{types.String("a"): v, types.String("b"): v})
		},
		"a Go map":                   func(v ref.Val) ref.Val { return adapter.NativeToValue(map[string]any{"a": v, "b": v}) },
		"a Go map with integer keys": func(v ref.Val) ref.Val { return adapter.NativeToValue(map[int64]any{1: v, 2: v}) },
		"keys":                       func(v ref.Val) ref.Val { return adapter.NativeToValue(map[string]any{times(1000, "k"): v, "k": v}) },
		"optional values":            func(v ref.Val) ref.Val { return adapter.NativeToValue([]any{types.OptionalOf(v), v}) },
	} {
		e := newEvaluation(nil)
		if w := e.take(doubling(3, of)); w.size < 8*17+7 {
			t.Errorf("%s: %d", name, w.size)
		}
		if v := e.built(doubling(3, of)); types.IsError(v) {
			t.Errorf("%s: %v", name, v)
		}
		if v := newEvaluation(nil).built(doubling(12, of)); !types.IsError(v) || v.(*types.Err).Error() != tooLong {
			t.Errorf("%s, doubled 12 times: %T", name, v)
		}
		for what, walk := range map[string]func(*evaluation, ref.Val){"take": func(e *evaluation, v ref.Val) { e.take(v) }, "built": func(e *evaluation, v ref.Val) { e.built(v) }} {
			e := newEvaluation(nil)
			func() {
				defer func() {
					if cancelled, ok := recover().(interpreter.EvalCancelledError); what == "take" && (!ok || cancelled.Cause != interpreter.CostLimitExceeded) {
						t.Errorf("%s: %s returns", name, what)
					}
				}()
				walk(e, doubling(22, of))
			}()
			if what == "take" && e.cost() != expressionCost {
				t.Errorf("%s: costs %d", name, e.cost())
			}
		}
	}
	factors, err := anyExpression(t, `[factors, [expr.Factor{amr: factors[0].amr}]]`).run(NewBudget(), map[string]any{"factors": []Factor{{AMR: times(1000, "a")}}})
	if w := newEvaluation(nil).take(factors); err != nil || w.size < 2000 {
		t.Errorf("factors weigh %d, %v", w.size, err)
	}
	if w := newEvaluation(nil).take(adapter.NativeToValue([]any{"abc", nil, true, int64(1), 1.5, []string{"d"}})); w.size != 1+4+1+1+1+1+3 {
		t.Errorf("a list weighs %d", w.size)
	}
}

// TestExpensiveCallsAreChargedBeforehand calls the guards, since the failure of an
// expression does not show whether the call was made: CEL counts its cost afterwards.
func TestExpensiveCallsAreChargedBeforehand(t *testing.T) {
	value := types.DefaultTypeAdapter.NativeToValue
	few, many, word, text := value(make([]int64, 20)), value(make([]int64, 1000)), value("word"), value(times(16<<10, "a"))
	for name, args := range map[string][2][]ref.Val{ // arguments within the limit, and beyond it
		"distinct": {{few}, {many}}, "sort": {{few}, {many}}, "@sortByAssociatedKeys": {{few, few}, {many, many}},
		"sets.contains": {{few, many}, {many, many}}, "sets.intersects": {{many, few}, {many, many}}, "sets.equivalent": {{few, few}, {many, many}},
		"indexOf": {{text, word}, {text, text}}, "lastIndexOf": {{text, word}, {text, text}},
		"matches":  {{word, value(`^\w{1,64}@\pL+$`)}, {text, value(`.{999}`)}},
		"getHours": {{value("time")}, {}},
	} {
		for i, args := range args {
			if len(args) == 0 {
				continue
			}
			e := newEvaluation(nil)
			var all weight
			for _, arg := range args {
				all.work += e.take(arg).work
			}
			work, err := guards[name](args, all)
			if dear := work > e.left; err != nil || dear != (i == 1) {
				t.Errorf("%s: %d, %v", name, work, err)
			}
		}
	}
	zone := []ref.Val{value("time"), value("zone")}
	if work, err := guards["matches"]([]ref.Val{word, value(times(600, `\pL`))}, weight{}); err != nil || work < expressionCost*walkPerCost {
		t.Errorf("classes: %d, %v", work, err)
	}
	for name, args := range map[string][]ref.Val{"getHours": zone, "json.encode": {word}, "format": {word, few}} {
		if work, err := guards[name](args, weight{size: 8, work: 8}); err != nil || work < 10 {
			t.Errorf("%s: %d, %v", name, work, err)
		}
	}
}

// TestLargeExpressionsWork evaluates expressions near the limits, and those whose
// operators are implemented here.
func TestLargeExpressionsWork(t *testing.T) {
	groups, allowed, rows := make([]any, 200), make([]any, 300), make([]any, 60)
	for i := range allowed {
		allowed[i] = fmt.Sprintf("application-group-%d", i)
	}
	for i := range groups {
		groups[i] = fmt.Sprintf("application-group-%d", 2*i)
	}
	for i := range rows {
		rows[i] = slices.Repeat([]any{int64(i)}, 100)
	}
	variables := map[string]any{"token": map[string]any{
		"groups": groups, "allowed": allowed, "email": "alice@example.com", "pattern": "^[a-z]+@", "none": []any{}, "list": []any{int64(3), int64(1)},
		"rows": rows, "address": map[string]any{"city": "Bern", "<": []any{nil, 1.5}}, "time": "2026-01-02T23:30:00Z", "text": times(1000, "word "),
	}}
	for text, want := range map[string]string{ // as JSON
		`size(token.groups.filter(g, g in token.allowed))`:                                                         `150`,
		`size(token.groups.map(g, {'name': g, 'kind': 'group'}))`:                                                  `200`,
		`size(token.rows.map(r, r).map(r, r).filter(r, true))`:                                                     `60`,
		`token.allowed.exists(g, g == 'application-group-299')`:                                                    `true`,
		`size(token.groups.filter(g, g.matches('^application-group-[0-9]{1,2}$')))`:                                `50`,
		`sets.intersects(token.groups.slice(0, 20), token.allowed)`:                                                `true`,
		`size(token.groups.join(' ').split(' '))`:                                                                  `200`,
		`size(token.text.replace('d ', ''))`:                                                                       `3000`,
		`token.email.matches('^[A-Za-z0-9._-]{1,64}@[A-Za-z0-9.-]{1,255}$') && token.email.matches(token.pattern)`: `true`,
		`token.email.matches('^\\p{L}+@') && !token.email.matches(token.pattern + '$')`:                            `true`,
		`token.list + ['a'] + token.none + [dyn([])]`:                                                              `[3,1,"a",[]]`,
		`token.none + token.list`:                                                                                  `[3,1]`,
		`token.list + token.list == [3, 1, 3, 1]`:                                                                  `true`,
		`(token.list + [2]).sort().reverse()[0]`:                                                                   `3`,
		`[[1], [2, 3]].map(x, x.map(y, [y, x]))`:                                                                   `[[[1,[1]]],[[2,[2,3]],[3,[2,3]]]]`,
		`[1, 2].map(x, [3].map(y, x + y)).flatten()`:                                                               `[4,5]`,
		`[2, 1].sortBy(x, x)`:                                                                                      `[1,2]`,
		`json.encode(token.address)`:                                                                               `"{\"\\u003c\":[null,1.5],\"city\":\"Bern\"}"`,
		`json.encode('a') + json.encode(1)`:                                                                        `"\"a\"1"`,
		`'%s %d'.format([[1, {'a': 2}], 7])`:                                                                       `"[1, {a: 2}] 7"`,
		`'a' in token.address || 'city' in token.address`:                                                          `true`,
		`size('äö') + size(b'abc') + size([1]) + size({})`:                                                         `6`,
		`timestamp(token.time).getHours('Europe/Zurich') + timestamp(token.time).getHours()`:                       `23`,
		`timestamp(token.time) - timestamp(token.time) == duration('0s')`:                                          `true`,
		`[1, 2.0, 3u] == [1.0, 2, 3] && [1] != [2]`:                                                                `true`,
		`optional.of(token.list).optMap(l, l + l).orValue([])`:                                                     `[3,1,3,1]`,
		`[?token.?list, ?token.?missing]`:                                                                          `[[3,1]]`,
		`google.protobuf.ListValue{values: [1.0, 'a']}`:                                                            `[1,"a"]`,
		times(30, `[`) + times(30, `]`):                                                                            times(30, `[`) + times(30, `]`),
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

// TestBoundsChangeNoResult evaluates random expressions with and without bounds, and
// compares the results.
func TestBoundsChangeNoResult(t *testing.T) {
	envs, err := Environments()
	if err != nil {
		t.Fatal(err)
	}
	variables := map[string]any{"token": map[string]any{
		"n": int64(2), "half": 1.5, "yes": true, "s": "abab", "empty": "", "list": []any{int64(1), "b", nil}, "rows": []any{[]any{"a"}, []any{"b", "a"}}, "o": map[string]any{"a": []any{int64(1)}},
	}}
	// Forms by the type that they yield. A letter after $ is replaced by an expression of that
	// kind: a list, text, a number, a boolean, an object or any.
	forms := map[byte][]string{
		'L': {
			`token.list`, `token.rows`, `token.o.a`, `[]`, `[$A, $A]`, `$L + $L`, `$L + [$A]`, `$L.map(x, $A)`, `$L.map(x, x)`, `$L.map(y, [y, $A])`, `$L.filter(x, $B)`, `[$L, $L].flatten()`, `[[$L], $L].flatten(2)`, `$L.slice(0, 1)`, `$L.distinct()`,
			`$L.reverse()`, `[$N, $N].sort()`, `[$S, $S].sort()`, `$L.sortBy(x, $N)`, `$S.split($S)`, `lists.range(3)`, `[optional.of($A)].unwrapOpt()`, `optional.of($L).optMap(x, x + $L).orValue([])`, `[?optional.of($A), $A]`,
			`google.protobuf.ListValue{values: $L}`, `$B ? $L : $L`, `[$N, $S]`,
		},
		'S': {
			`token.s`, `token.empty`, `'a'`, `'-'`, `$S + $S`, `string($N)`, `[$S, $S].join($S)`, `$S.split($S).join()`, `$S.replace($S, $S)`, `$S.replace('a', $S, 1)`, `$S.upperAscii()`, `$S.trim()`, `$S.reverse()`, `$S.substring(0)`, `$S.charAt(0)`,
			`'%s'.format([$A])`, `strings.quote($S)`, `json.encode($A)`, `base64.encode(bytes($S))`, `string(bytes($S) + b'z')`, `$B ? $S : $S`, `$O.?k.orValue($S)`,
		},
		'N': {`token.n`, `token.half`, `1`, `size($L)`, `size($S)`, `size($O)`, `$N + $N`, `$N - $N`, `-$N`, `$S.indexOf($S)`, `$S.lastIndexOf($S)`, `$L.first().optMap(x, 1).orValue($N)`, `timestamp('2026-01-02T03:04:05Z').getHours($S)`},
		'B': {
			`token.yes`, `$A == $A`, `$A != $A`, `$L == $L`, `$O == $O`, `$A in $L`, `$S in $O`, `$N < $N`, `$S <= $S`, `!$B`, `$B && $B`, `$B || $B`, `sets.contains($L, $L)`, `sets.intersects($L, $L)`, `sets.equivalent($L, $L)`, `$L.all(x, $B)`, `$L.exists(x, x == $A)`,
			`$S.matches($S)`, `$S.matches('^a')`, `$S.startsWith($S)`, `$S.contains($S)`, `type($A) == type($A)`, `optional.ofNonZeroValue($A).hasValue()`, `has(token.missing)`,
		},
		'O': {`token.o`, `{}`, `{'k': $A}`, `{'k': $A, 'l': $L}`, `{?'k': optional.of($A)}`, `google.protobuf.Struct{fields: {'k': $A}}`, `$L.map(x, {'k': x})[0]`},
		'A': {`$L`, `$S`, `$N`, `$B`, `$O`, `$L[0]`, `$O.k`, `token.missing`, `null`, `[x]`, `{'x': x}`, `$L.map(y, y)`},
	}
	yields := func(out ref.Val, err error) string {
		if err != nil {
			return fmt.Sprint(withoutValues(err))
		}
		room := MaxResult
		v, err := plain(out, &room)
		if err != nil {
			return err.Error()
		}
		text, _ := json.Marshal(v)
		return string(text)
	}
	compared := 0
	for seed := range uint64(1000) {
		random := rand.New(rand.NewPCG(seed, 1))
		var write func(kind byte, depth int) string
		write = func(kind byte, depth int) string {
			choices := forms[kind]
			if depth == 0 {
				choices = choices[:2]
			}
			var text strings.Builder
			for i, part := range strings.Split(choices[random.IntN(len(choices))], "$") {
				if i > 0 {
					text.WriteString(write(part[0], max(0, depth-1)))
					part = part[1:]
				}
				text.WriteString(part)
			}
			return `dyn(` + text.String() + `)`
		}
		text := `[1, 'a'].map(x, ` + write('A', 5) + `)`
		ast, issues := envs.Issuer.env.Compile(text)
		if issues.Err() != nil {
			continue
		}
		wrapped, err := envs.Issuer.Compile(text, nil)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got := yields(wrapped.run(NewBudget(), variables))
		if got == tooLong || got == tooDear {
			continue
		}
		program, err := envs.Issuer.env.Program(ast, cel.CostLimit(expressionCost), costs)
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := program.Eval(variables)
		if want := yields(out, err); got != want {
			t.Errorf("%s yields %s, and %s without bounds", text, got, want)
		}
		if strings.HasPrefix(got, "[") {
			compared++
		}
	}
	if compared < 400 {
		t.Errorf("%d expressions yield a value", compared)
	}
}

// TestEveryFunctionIsBounded checks the exceptions, so that a later version of CEL
// adds no other exception.
func TestEveryFunctionIsBounded(t *testing.T) {
	implementations, err := library()
	if err != nil {
		t.Fatal(err)
	}
	for name := range cheap {
		if implementations[name] == nil {
			t.Errorf("the library has no %s", name)
		}
	}
	var loose []string
	for name, of := range implementations {
		if of.NonStrict {
			loose = append(loose, name)
		}
	}
	if slices.Sort(loose); !slices.Equal(slices.Compact(loose), []string{"@not_strictly_false", "__not_strictly_false__", "not_strictly_false"}) {
		t.Errorf("not strict are %v", loose)
	}
}
