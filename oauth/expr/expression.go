// Package expr compiles and evaluates the CEL expressions of the configuration
// (docs/configuration.md, Expressions). An evaluation is bounded: in its work, and
// in the size of every value that it builds. Errors quote no claim.
package expr

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/ext"

	"github.com/latchkey/latchkey/settings"
)

// Limits of one evaluation.
const (
	expressionCost = 10_000  // in CEL's cost units
	requestCost    = 200_000 // for all custom claims that one request evaluates
	// MaxResult is the maximum of values and bytes of text in a result.
	MaxResult = 64 << 10
)

// Types that a result may be required to have, for [Env.Compile].
var (
	String = cel.StringType
	Bool   = cel.BoolType

	Strings = cel.ListType(cel.StringType)
)

// Env declares the variables of a kind of expression.
type Env struct{ env *cel.Env }

// Envs has an [Env] for each kind of expression (docs/configuration.md,
// Expressions).
type Envs struct{ Issuer, Allow, Claim, Class *Env }

// Environments returns the environments, which are made once.
func Environments() (Envs, error) { return environments() }

var environments = sync.OnceValues(func() (envs Envs, err error) {
	declare := func(names ...string) *Env {
		opts := slices.Clone(extensions)
		for _, name := range names {
			opts = append(opts, cel.Variable(name, cel.MapType(cel.StringType, cel.DynType)))
		}
		env, e := cel.NewEnv(opts...)
		err = errors.Join(err, e)
		return &Env{env}
	}
	envs.Issuer = declare("token")
	envs.Allow = declare("token", "client", "user")
	envs.Claim = declare("user", "session")
	class, e := cel.NewEnv(append(slices.Clone(extensions),
		ext.NativeTypes(reflect.TypeFor[Factor](), ext.ParseStructTags(true)),
		cel.Variable("factors", cel.ListType(cel.ObjectType("expr.Factor"))),
		cel.Variable("amr", cel.ListType(cel.StringType)), cel.Variable("kinds", cel.ListType(cel.StringType)))...)
	envs.Class, err = &Env{class}, errors.Join(err, e)
	return envs, err
})

// Factor is a factor as an `acr` rule sees it.
type Factor struct {
	AMR    string `cel:"amr"`
	Kind   string `cel:"kind"`
	Issuer string `cel:"issuer"`
	ACR    string `cel:"acr"` // as its entry asserted it, if it may
	Age    int64  `cel:"age"` // in whole seconds
}

// Expression is a compiled CEL expression.
type Expression struct{ program cel.Program }

// ErrMissing reports an expression that used a missing key or yielded null. The claim
// or attribute is then left out.
var ErrMissing = errors.New("yields nothing")

// ErrTooMuch reports an expression that yields more than MaxResult.
var ErrTooMuch = errors.New("yields too much")

// Compile compiles an expression. `want`, if given, is the required type of the
// result: String, Bool or Strings.
func (e *Env) Compile(text string, want *cel.Type) (*Expression, error) {
	ast, issues := e.env.Compile(text)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, &Fault{max(first.Location.Line(), 1), max(first.Location.Column()+1, 1), syntaxFault(text, strings.TrimSuffix(first.Message, " (in container '')"))}
	}
	if out := ast.OutputType(); want != nil && !mayYield(out, want) {
		return nil, fmt.Errorf("yields %s, but must yield %s", out, want)
	}
	program, err := e.env.Program(ast, cel.CostLimit(expressionCost), costs, cel.CustomDecoratorV2(bounded))
	if err != nil {
		return nil, err
	}
	return &Expression{program}, nil
}

// Fault is the first thing that is wrong with an expression, and its place. Line and
// Column begin at 1, also for an expression without text, of which CEL knows no place.
type Fault struct {
	Line, Column int
	err          error
}

func (f *Fault) Error() string { return f.err.Error() }

func (f *Fault) Unwrap() error { return f.err }

// quoted matches a string in an expression, which contains no operators.
var quoted = regexp.MustCompile(`"(\\.|[^"\\])*"|'(\\.|[^'\\])*'`)

// habits lists operators of other languages and their equivalents in CEL.
var habits = []struct {
	spelling *regexp.Regexp
	instead  string
}{
	{regexp.MustCompile(`===|!==`), "use == and !="},
	{regexp.MustCompile(`(^|[^=!<>])=([^=]|$)`), "use == to compare"},
	{regexp.MustCompile(`<>`), "use !="},
	{regexp.MustCompile(`(?i)[^a-z0-9_.](and|or|not)[^a-z0-9_]`), "use &&, || and !"},
	{regexp.MustCompile(`(^|[^&])&([^&]|$)`), "use &&"},
	{regexp.MustCompile(`(^|[^|])[|]([^|]|$)`), "use ||"},
}

// syntaxFault returns an error for an expression that does not compile. It rewrites
// messages of the parser about tokens, a word with another meaning here.
func syntaxFault(text, message string) error {
	if !strings.HasPrefix(message, "Syntax error") {
		return errors.New(message)
	}
	bare := quoted.ReplaceAllString(text, "''")
	for _, habit := range habits {
		if habit.spelling.MatchString(bare) {
			return fmt.Errorf("is not valid CEL: %s", habit.instead)
		}
	}
	_, detail, _ := strings.Cut(message, ": ")
	return fmt.Errorf("is not valid CEL: %s", strings.ReplaceAll(detail, "token recognition error at", "unexpected character"))
}

// mayYield reports whether a result of type out can be a want: directly, as an
// optional value, or as a value whose type only the evaluation shows.
func mayYield(out, want *cel.Type) bool {
	able := []*cel.Type{want, cel.DynType}
	if want.Kind() == cel.ListKind {
		able = append(able, cel.ListType(cel.DynType)) // claims, whose types only the evaluation shows
	}
	for _, t := range able {
		if out.IsExactType(t) || out.IsExactType(cel.OptionalType(t)) {
			return true
		}
	}
	return false
}

// Budget is the remaining work that expressions may do for one request.
type Budget struct{ left uint64 }

// NewBudget returns the budget of one request.
func NewBudget() *Budget { return &Budget{requestCost} }

// Spent reports whether the budget is exhausted.
func (b *Budget) Spent() bool { return b.left == 0 }

// charge subtracts the cost of an evaluation: CEL's, and that of the values that it
// walked. An evaluation that CEL did not count costs the limit.
func (b *Budget) charge(details *cel.EvalDetails, walked uint64) {
	cost := uint64(expressionCost)
	if details != nil {
		if actual := details.ActualCost(); actual != nil {
			cost = *actual
		}
	}
	b.left -= min(b.left, max(1, cost+walked))
}

var errBudgetSpent = errors.New("the expressions of the request exceed its budget")

// Evaluate returns a JSON-compatible value, or ErrMissing. It has a budget of its
// own.
func (e *Expression) Evaluate(variables map[string]any) (any, error) {
	return e.evaluateWithin(NewBudget(), variables)
}

// evaluateWithin is Evaluate within the budget of a request.
func (e *Expression) evaluateWithin(b *Budget, variables map[string]any) (any, error) {
	if b.Spent() {
		return nil, errBudgetSpent
	}
	out, err := e.run(b, variables)
	if err != nil {
		if strings.HasPrefix(err.Error(), "no such key") {
			return nil, ErrMissing
		}
		return nil, withoutValues(err)
	}
	room := MaxResult
	return plain(out, &room)
}

// run returns a CEL value.
func (e *Expression) run(b *Budget, variables map[string]any) (ref.Val, error) {
	of := newEvaluation(variables)
	out, details, err := e.program.Eval(of)
	b.charge(details, of.cost())
	return out, err
}

// failures maps texts in CEL's error messages to kinds of failures, in CEL's own
// words where it has any.
var failures = []struct{ contains, kind string }{
	{"cost limit exceeded", "cost limit exceeded"},
	{errResultTooLong.Error(), errResultTooLong.Error()},
	{"exceeds maximum allowed", errResultTooLong.Error()},
	{"no such overload", "no such overload: an operator or function was applied to a value of another type"},
	{"type conversion", "type conversion error"},
	{"strconv.", "type conversion error"},
	{"regexp", "invalid regular expression"},
	{"index out of", "index out of bounds"},
	{"by zero", "division by zero"},
	{"integer overflow", "integer overflow"},
}

// withoutValues reduces an error to the kind of failure. CEL's messages quote the
// values of claims, which must not appear in the log.
func withoutValues(err error) error {
	text := err.Error()
	for _, f := range failures {
		if strings.Contains(text, f.contains) {
			return errors.New(f.kind)
		}
	}
	return errors.New("evaluation failed")
}

// plain converts a CEL value to a value for encoding/json. CEL stores and counts a
// list once even if the value contains it many times: a list that is doubled thirty
// times would fill the memory.
func plain(v ref.Val, room *int) (any, error) {
	if *room--; *room < 0 {
		return nil, ErrTooMuch
	}
	switch v := v.(type) {
	case types.Null:
		return nil, ErrMissing
	case *types.Optional:
		if !v.HasValue() {
			return nil, ErrMissing
		}
		return plain(v.GetValue(), room)
	case types.Bool, types.Int, types.Uint:
		return v.Value(), nil
	case types.String:
		if *room -= len(v); *room < 0 {
			return nil, ErrTooMuch
		}
		return string(v), nil
	case types.Double:
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, errors.New("is not a number")
		}
		return v.Value(), nil
	case types.Bytes:
		if *room -= len(v); *room < 0 {
			return nil, ErrTooMuch
		}
		return base64.StdEncoding.EncodeToString(v), nil
	case types.Timestamp:
		return v.Time.UTC().Format(time.RFC3339Nano), nil
	case types.Duration:
		return v.Duration.String(), nil
	case traits.Mapper:
		object := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			name, ok := key.(types.String)
			if !ok {
				return nil, errors.New("yields an object with a name that is not a string")
			}
			*room -= len(name)
			value, err := plainOrNull(v.Get(key), room)
			if err != nil {
				return nil, err
			}
			object[string(name)] = value
		}
		return object, nil
	case traits.Lister:
		list := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			value, err := plainOrNull(it.Next(), room)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	default:
		return nil, fmt.Errorf("yields %s, which has no JSON form", v.Type().TypeName())
	}
}

// plainOrNull is plain, but allows null, for the contents of a list or object.
func plainOrNull(v ref.Val, room *int) (any, error) {
	value, err := plain(v, room)
	if errors.Is(err, ErrMissing) {
		return nil, nil
	}
	return value, err
}

// Mapping is a set of named expressions.
type Mapping map[string]*Expression

// CompileMapping compiles every expression. The path of a fault is path.name.
func (e *Env) CompileMapping(texts map[string]string, path string, faults *settings.Faults) Mapping {
	m := Mapping{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		compiled, err := e.Compile(texts[name], nil)
		if err != nil {
			faults.Add(settings.Member(path, name), "%v", err)
			continue
		}
		m[name] = compiled
	}
	return m
}

// Evaluate evaluates the expressions in the order of their names and returns their
// values. It calls failed for each evaluation that fails, except with ErrMissing.
func (m Mapping) Evaluate(b *Budget, variables map[string]any, failed func(name string, err error)) map[string]any {
	if len(m) == 0 {
		return nil
	}
	values := make(map[string]any, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		value, err := m[name].evaluateWithin(b, variables)
		switch {
		case err == nil:
			values[name] = value
		case !errors.Is(err, ErrMissing):
			failed(name, err)
		}
	}
	return values
}
