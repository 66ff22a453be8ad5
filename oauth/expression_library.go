package oauth

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/ext"
)

// maxComparisons bounds the work of one call that compares elements of lists
// pairwise.
const maxComparisons = 250_000

// extensions are the functions beyond CEL's own: strings, base64 and JSON,
// lists, and lists as sets, at versions whose cost CEL tracks.
var extensions = []cel.EnvOption{
	ext.Strings(ext.StringsVersion(5)), ext.Encoders(ext.EncodersVersion(1)),
	ext.Lists(ext.ListsVersion(3), ext.ListsMaxRangeSize(1000)), ext.Sets(),
}

// guards bound single calls. CEL charges the cost of a function only after the
// call, when a result of gigabytes has been built already.
var guards = map[string]func(args []ref.Val) error{
	"replace":         guardReplace,
	"join":            guardResult,
	"format":          guardResult,
	"json.encode":     guardResult,
	"distinct":        guardComparisons,
	"sets.contains":   guardComparisons,
	"sets.intersects": guardComparisons,
	"sets.equivalent": guardComparisons,
}

var (
	errResultTooLong      = errors.New("the result would be too long")
	errTooManyComparisons = errors.New("the lists are too long to compare")
)

// guardReplace computes the length of the result. An empty search string
// matches before every character and at the end.
func guardReplace(args []ref.Val) error {
	var text [3]string
	for i := range text {
		s, ok := args[i].(types.String)
		if !ok {
			return nil // the function itself reports the type
		}
		text[i] = string(s)
	}
	if len(text[0])+strings.Count(text[0], text[1])*len(text[2]) > maxResult {
		return errResultTooLong
	}
	return nil
}

// guardResult bounds functions whose result repeats each part of their
// arguments at most once, or the last argument once for each element of the
// first.
func guardResult(args []ref.Val) error {
	room := maxResult
	for _, arg := range args {
		if _, err := plain(arg, &room); err != nil && !errors.Is(err, errMissing) {
			return errResultTooLong
		}
	}
	separator, isText := args[len(args)-1].(types.String)
	list, isList := args[0].(traits.Lister)
	if isText && isList && int64(list.Size().(types.Int))*int64(len(separator)) > maxResult {
		return errResultTooLong
	}
	return nil
}

func guardComparisons(args []ref.Val) error {
	product := int64(1)
	for i := range 2 {
		list, ok := args[min(i, len(args)-1)].(traits.Lister)
		if !ok {
			return nil
		}
		if product *= int64(list.Size().(types.Int)); product > maxComparisons {
			return errTooManyComparisons
		}
	}
	return nil
}

// library is the extensions, each guarded function behind its guard.
var library = sync.OnceValues(func() ([]cel.EnvOption, error) {
	env, err := cel.NewEnv(extensions...)
	if err != nil {
		return nil, err
	}
	options := append([]cel.EnvOption{}, extensions...)
	for name, guard := range guards {
		function, ok := env.Functions()[name]
		if !ok {
			return nil, fmt.Errorf("the CEL library has no function %s", name)
		}
		bindings, err := function.Bindings()
		if err != nil {
			return nil, err
		}
		implementations := map[string]*functions.Overload{}
		for _, b := range bindings {
			implementations[b.Operator] = b
		}
		for _, o := range function.OverloadDecls() {
			declare := cel.Overload
			if o.IsMemberFunction() {
				declare = cel.MemberOverload
			}
			options = append(options, cel.Function(name, declare(o.ID(), o.ArgTypes(), o.ResultType(), guarded(implementations[o.ID()], guard))))
		}
	}
	return options, nil
})

// guarded binds an implementation behind a guard.
func guarded(of *functions.Overload, guard func([]ref.Val) error) cel.OverloadOpt {
	call := func(args ...ref.Val) ref.Val {
		if err := guard(args); err != nil {
			return types.WrapErr(err)
		}
		switch {
		case of.Unary != nil && len(args) == 1:
			return of.Unary(args[0])
		case of.Binary != nil && len(args) == 2:
			return of.Binary(args[0], args[1])
		default:
			return of.Function(args...)
		}
	}
	switch {
	case of.Unary != nil:
		return cel.UnaryBinding(func(arg ref.Val) ref.Val { return call(arg) })
	case of.Binary != nil:
		return cel.BinaryBinding(func(first, second ref.Val) ref.Val { return call(first, second) })
	default:
		return cel.FunctionBinding(call)
	}
}
