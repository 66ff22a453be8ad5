package expr

import (
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/ext"
	"github.com/google/cel-go/interpreter"
)

// extensions lists the CEL extensions that expressions may use: optional values, and
// functions for strings, base64 and JSON, lists, and lists as sets, in versions whose
// cost CEL tracks.
var extensions = []cel.EnvOption{
	cel.OptionalTypes(), cel.CrossTypeNumericComparisons(true),
	ext.Strings(ext.StringsVersion(5)), ext.Encoders(ext.EncodersVersion(1)),
	ext.Lists(ext.ListsVersion(3), ext.ListsMaxRangeSize(1000)), ext.Sets(),
}

// costs replaces CEL's cost of json.encode, which is the largest uint64: added to
// another cost it overflows to a smaller one, and alone it exceeds every limit.
var costs = cel.CostTrackerOptions(interpreter.OverloadCostTracker("json_encode_dyn", func(_ []ref.Val, result ref.Val) *uint64 {
	cost := uint64(1)
	if text, ok := result.(types.String); ok {
		cost += uint64(len(text) / 10)
	}
	return &cost
}))

// cheap has the operators and functions that neither walk a value nor build one that
// is larger than their arguments. They are not wrapped.
var cheap = map[string]bool{
	operators.LogicalNot: true, operators.Negate: true, operators.Subtract: true, operators.Multiply: true, operators.Divide: true, operators.Modulo: true,
	"dyn": true, "type": true, "first": true, "last": true,
	"optional.of": true, "optional.ofNonZeroValue": true, "value": true, "hasValue": true,
}

// guard returns the work of a call beyond walking each argument once, or an error if
// its result would be too long. `all` is the weight of the arguments together.
type guard func(args []ref.Val, all weight) (work int, err error)

// guards are for functions whose work or result may be far more than their
// arguments.
var guards = map[string]guard{
	"replace":               guardReplace,
	"join":                  guardJoin,
	"format":                guardFormat,
	"json.encode":           guardJSON,
	"distinct":              guardPairs,
	"sort":                  guardPairs,
	"@sortByAssociatedKeys": guardPairs,
	"sets.contains":         guardPairs,
	"sets.intersects":       guardPairs,
	"sets.equivalent":       guardPairs,
	"indexOf":               guardSearch,
	"lastIndexOf":           guardSearch,
	overloads.Matches:       guardMatch,

	overloads.TimeGetFullYear: guardZone, overloads.TimeGetMonth: guardZone, overloads.TimeGetDayOfYear: guardZone,
	overloads.TimeGetDate: guardZone, overloads.TimeGetDayOfMonth: guardZone, overloads.TimeGetDayOfWeek: guardZone,
	overloads.TimeGetHours: guardZone, overloads.TimeGetMinutes: guardZone, overloads.TimeGetSeconds: guardZone, overloads.TimeGetMilliseconds: guardZone,
}

// guardReplace computes the length of the result. An empty search string matches
// before every character and at the end.
func guardReplace(args []ref.Val, _ weight) (int, error) {
	var text [3]string
	for i := range text {
		s, ok := args[i].(types.String)
		if !ok {
			return 0, nil // the function itself reports the type
		}
		text[i] = string(s)
	}
	if len(text[0])+strings.Count(text[0], text[1])*len(text[2]) > MaxResult {
		return 0, errResultTooLong
	}
	return 0, nil
}

// guardText is for functions whose result contains each part of the arguments at
// most once.
func guardText(_ []ref.Val, all weight) (int, error) {
	if all.size > MaxResult {
		return 0, errResultTooLong
	}
	return 0, nil
}

// guardFormat is for format, which copies the text of an object into that of the
// object around it, and writes numbers with up to 309 digits.
func guardFormat(args []ref.Val, all weight) (int, error) {
	_, err := guardText(args, all)
	return 10 * all.work, err
}

// guardJSON is for json.encode, which converts the value, encodes it, decodes it and
// encodes it again.
func guardJSON(args []ref.Val, all weight) (int, error) {
	_, err := guardText(args, all)
	return 2 * all.size, err
}

// guardJoin is for join, whose result contains the separator once for each element.
func guardJoin(args []ref.Val, all weight) (int, error) {
	if list, ok := args[0].(traits.Lister); ok && len(args) == 2 {
		if separator, ok := args[1].(types.String); ok {
			all.size += int(list.Size().(types.Int)) * len(separator)
		}
	}
	return guardText(args, all)
}

// guardPairs is for functions that compare each element of a list with each element
// of another list, or of the same list.
func guardPairs(args []ref.Val, all weight) (int, error) {
	elements := math.MaxInt32
	for _, arg := range args {
		list, ok := arg.(traits.Lister)
		if !ok {
			return 0, nil
		}
		elements = min(elements, int(list.Size().(types.Int)))
	}
	return elements * all.work, nil
}

// guardSearch is for indexOf and lastIndexOf, which compare the whole search string
// at each position.
func guardSearch(args []ref.Val, _ weight) (int, error) {
	text, ok := args[0].(types.String)
	part, isText := args[1].(types.String)
	if !ok || !isText {
		return 0, nil
	}
	return len(text) * len(part) / textPerWalk, nil
}

// Limits of a regular expression.
const (
	maxPattern = 4096    // its bytes
	maxKept    = 100_000 // the work to compile one that is kept
)

// guardMatch is for matches with a pattern that is compiled at each call.
func guardMatch(args []ref.Val, _ weight) (int, error) {
	text, ok := args[0].(types.String)
	pattern, isText := args[1].(types.String)
	if !ok || !isText {
		return 0, nil
	}
	size := instructions(string(pattern))
	return compiling(string(pattern), size) + matching(size, text), nil
}

// compiling returns the work to compile a pattern to `size` instructions.
func compiling(pattern string, size int) int {
	if len(pattern) > maxPattern {
		return math.MaxInt32
	}
	classes := strings.Count(pattern, `\p`) + strings.Count(pattern, `\P`) // a class such as \pL has hundreds of ranges
	return 10*size + 500*classes
}

// matching returns the work of a match. At worst, each byte of the text is compared
// with each instruction.
func matching(size int, text types.String) int { return size * (len(text) + 1) / 8 }

// keep compiles the pattern of matches once, if it is a constant, valid and not too
// large. Otherwise it returns nil, and each call compiles the pattern.
func keep(arg interpreter.InterpretableV2) (*functions.Overload, guard) {
	constant, ok := arg.(interpreter.InterpretableConst)
	if !ok {
		return nil, nil
	}
	pattern, ok := constant.Value().(types.String)
	if !ok {
		return nil, nil
	}
	size := instructions(string(pattern))
	if compiling(string(pattern), size) > maxKept {
		return nil, nil
	}
	compiled, err := regexp.Compile(string(pattern))
	if err != nil {
		return nil, nil
	}
	match := func(text, _ ref.Val) ref.Val {
		if text, ok := text.(types.String); ok {
			return types.Bool(compiled.MatchString(string(text)))
		}
		return types.MaybeNoSuchOverloadErr(text)
	}
	return &functions.Overload{Binary: match}, func(args []ref.Val, _ weight) (int, error) {
		text, _ := args[0].(types.String)
		return matching(size, text), nil
	}
}

// instructions estimates the number of instructions of a compiled pattern. Without
// counted repetitions, each byte of the pattern adds at most two.
func instructions(pattern string) int {
	if len(pattern) > maxPattern || !strings.Contains(pattern, "{") {
		return 2 * len(pattern)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0 // matches reports it
	}
	return instructionsOf(parsed)
}

func instructionsOf(re *syntax.Regexp) int {
	n := 2
	if re.Op == syntax.OpLiteral {
		n += len(re.Rune)
	}
	for _, sub := range re.Sub {
		n += instructionsOf(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(1, re.Min, re.Max)
	}
	return n
}

// guardZone is for functions of a timestamp, which read a named time zone from a file
// at each call.
func guardZone(args []ref.Val, _ weight) (int, error) { return (len(args) - 1) * 2000, nil }

// library has the implementations of all operators and functions, by the names of
// their overloads and by their own names.
var library = sync.OnceValues(func() (map[string]*functions.Overload, error) {
	env, err := cel.NewEnv(extensions...)
	if err != nil {
		return nil, err
	}
	implementations := map[string]*functions.Overload{}
	for _, function := range env.Functions() {
		bindings, err := function.Bindings()
		if err != nil {
			return nil, err
		}
		for _, b := range bindings {
			implementations[b.Operator] = b
		}
	}
	// CEL's own nodes implement these two.
	implementations[operators.Equals] = &functions.Overload{Binary: types.Equal}
	implementations[operators.NotEquals] = &functions.Overload{Binary: func(a, b ref.Val) ref.Val { return types.Bool(types.Equal(a, b) != types.True) }}
	for name := range guards {
		if env.Functions()[name] == nil {
			return nil, fmt.Errorf("the CEL library has no function %s", name)
		}
	}
	return implementations, nil
})
