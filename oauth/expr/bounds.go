package expr

import (
	"errors"
	"math"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

// CEL alone does not bound an evaluation: it counts `==`, `in` or flatten() by
// the elements of the outermost list, and only after the call. But values of CEL
// share their parts. A list that contains the same list twice, thirty levels deep,
// takes a few hundred bytes and has a billion elements when it is walked.
//
// Therefore each call and each literal of a program is wrapped. The arguments of a
// call are walked before it, and the walk counts as work of the evaluation. The
// result is rejected if it is too large, where a shared part counts as often as it
// occurs. Since no value becomes larger than that, no call builds or walks more
// than was counted.

const (
	maxDepth = 32 // levels of nested lists and objects in a value that is built

	walkPerCost = 25 // walked values that cost one CEL unit
	textPerWalk = 32 // bytes of text that cost as much as one value
)

// evaluation holds the variables of one evaluation, and counts its work. Each node of
// a program finds it in its frame.
type evaluation struct {
	variables map[string]any
	left      int // values that it may still walk
	growing   []growing
}

// growing is a list that map() or filter() is building. Walking it at each step
// would cost the square of its length.
type growing struct {
	list traits.MutableLister
	size int
}

func newEvaluation(variables map[string]any) *evaluation {
	return &evaluation{variables: variables, left: expressionCost * walkPerCost}
}

// evaluationName is the variable whose value is the evaluation. No expression can
// contain the name.
const evaluationName = "@evaluation"

// ResolveName implements cel.Activation.
func (e *evaluation) ResolveName(name string) (any, bool) {
	if name == evaluationName {
		return e, true
	}
	v, ok := e.variables[name]
	return v, ok
}

// Parent implements cel.Activation.
func (e *evaluation) Parent() cel.Activation { return nil }

// evaluationOf finds the evaluation that a frame belongs to.
func evaluationOf(frame *interpreter.ExecutionFrame) *evaluation {
	if e, ok := frame.Activation.(*evaluation); ok {
		return e
	}
	v, _ := frame.ResolveName(evaluationName) // inside map(), filter() and the like
	return v.(*evaluation)
}

// cost returns the work so far, in units of CEL's cost.
func (e *evaluation) cost() uint64 {
	return uint64(expressionCost - e.left/walkPerCost)
}

// charge counts work. Beyond the limit it panics, as CEL does at its own limit:
// `||` and all() ignore errors, so that the evaluation would go on.
func (e *evaluation) charge(work int) {
	if e.left -= work; e.left < 0 {
		e.left = 0
		panic(interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded, Message: "cost limit exceeded"})
	}
}

// weight is the size of a value, where a shared part counts as often as it occurs.
type weight struct {
	size int // values and bytes of text
	work int // values, counted once for each level: some functions copy at each level
}

// take walks an argument of a call.
func (e *evaluation) take(v ref.Val) weight {
	t := tally{maxSize: math.MaxInt, maxWork: e.left, maxDepth: math.MaxInt}
	t.add(v, 0)
	e.charge(t.work)
	return t.weight
}

// built walks the result of a call or a literal, and replaces one that is too large
// by an error.
func (e *evaluation) built(v ref.Val) ref.Val {
	switch v.(type) {
	case types.Bool, types.Int, types.Uint, types.Double, *types.Err, *types.Unknown:
		return v
	}
	t := tally{maxSize: MaxResult, maxWork: e.left, maxDepth: maxDepth}
	fits := t.add(v, 0)
	e.charge(t.work)
	if !fits {
		return types.WrapErr(errResultTooLong)
	}
	return v
}

// concat implements `+` of two lists. CEL's own result is a tree: to get an element
// takes as many steps as the tree is deep.
func (e *evaluation) concat(a, b traits.Lister) ref.Val {
	if grown, ok := a.(traits.MutableLister); ok {
		return e.grow(grown, b)
	}
	size := e.take(a).size + e.take(b).size
	switch {
	case a.Size() == types.IntZero:
		return b
	case b.Size() == types.IntZero:
		return a
	case size > MaxResult:
		return types.WrapErr(errResultTooLong)
	}
	elements := make([]ref.Val, 0, int(a.Size().(types.Int)+b.Size().(types.Int)))
	for _, list := range []traits.Lister{a, b} {
		for i := range list.Size().(types.Int) {
			elements = append(elements, list.Get(i))
		}
	}
	return types.NewRefValList(types.DefaultTypeAdapter, elements)
}

// grow implements a step of map() or filter(), which adds to the list that they
// build.
func (e *evaluation) grow(list traits.MutableLister, by traits.Lister) ref.Val {
	i := len(e.growing) - 1
	for i >= 0 && e.growing[i].list != list {
		i--
	}
	if i < 0 {
		i = len(e.growing)
		e.growing = append(e.growing, growing{list: list})
	}
	e.growing = e.growing[:i+1] // those after it belong to finished loops inside this one
	g := &e.growing[i]
	if g.size += e.take(by).size; g.size > MaxResult {
		return types.WrapErr(errResultTooLong)
	}
	return list.Add(by)
}

// tally adds up a weight, until it exceeds a limit.
type tally struct {
	weight
	maxSize, maxWork, maxDepth int
}

// add counts a value inside `depth` lists and objects, and all that it contains. It
// reports whether the limits hold.
func (t *tally) add(v any, depth int) bool {
	return depth <= t.maxDepth && t.count(1, max(1, depth)) && t.inside(v, depth)
}

// inside counts what a value contains. The value is CEL's, or one that CEL converts.
func (t *tally) inside(v any, depth int) bool {
	switch v := v.(type) {
	case types.String:
		return t.text(len(v), depth)
	case types.Bool, types.Int, types.Uint, types.Double, types.Null, types.Timestamp, types.Duration:
		return true
	case types.Bytes:
		return t.text(len(v), depth)
	case *types.Optional:
		return !v.HasValue() || t.add(v.GetValue(), depth+1)
	case traits.MutableLister: // its Value is empty
		return t.list(v, depth)
	case traits.Lister:
		switch native := v.Value().(type) { // Get would convert each element
		case []ref.Val:
			return addAll(t, native, depth)
		case []any:
			return addAll(t, native, depth)
		case []string:
			return addAll(t, native, depth)
		default:
			return t.list(v, depth)
		}
	case traits.Mapper:
		switch native := v.Value().(type) {
		case map[string]any:
			return t.inside(native, depth)
		case map[ref.Val]ref.Val:
			for key, value := range native {
				if !t.add(key, depth+1) || !t.add(value, depth+1) {
					return false
				}
			}
			return true
		}
		for it := v.Iterator(); it.HasNext() == types.True; {
			if key := it.Next(); !t.add(key, depth+1) || !t.add(v.Get(key), depth+1) {
				return false
			}
		}
		return true
	case ref.Val: // a struct, a type or an error
		switch factor := v.Value().(type) {
		case Factor:
			return t.inside(factor, depth)
		case *Factor: // by a literal
			return t.inside(*factor, depth)
		}
		return true

	case string:
		return t.text(len(v), depth)
	case nil, bool, int64, float64:
		return true
	case []any:
		return addAll(t, v, depth)
	case map[string]any:
		for key, value := range v {
			if !t.add(key, depth+1) || !t.add(value, depth+1) {
				return false
			}
		}
		return true
	case Factor:
		return t.text(len(v.AMR)+len(v.Kind)+len(v.Issuer)+len(v.ACR), depth)
	default:
		return t.inside(types.DefaultTypeAdapter.NativeToValue(v), depth)
	}
}

func addAll[T any](t *tally, list []T, depth int) bool {
	for _, v := range list {
		if !t.add(v, depth+1) {
			return false
		}
	}
	return true
}

func (t *tally) list(list traits.Lister, depth int) bool {
	for i := range list.Size().(types.Int) {
		if !t.add(list.Get(i), depth+1) {
			return false
		}
	}
	return true
}

func (t *tally) text(length, depth int) bool {
	return t.count(length, length/textPerWalk*max(1, depth))
}

func (t *tally) count(size, work int) bool {
	t.size += size
	t.work += work
	return t.size <= t.maxSize && t.work <= t.maxWork
}

// bounded wraps a node of a program. CEL calls it for the arguments of a node before
// the node itself.
func bounded(node interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	switch node := node.(type) {
	case interpreter.InterpretableCall:
		implementations, err := library()
		if err != nil {
			return nil, err
		}
		of := implementations[node.OverloadID()]
		if of == nil {
			of = implementations[node.Function()]
		}
		// A function that is not strict accepts errors as arguments.
		if of == nil || of.NonStrict || cheap[node.Function()] || len(node.Args()) == 0 {
			return node, nil
		}
		call := &boundedCall{node, node.Args(), of, guards[node.Function()]}
		if call.Function() == overloads.Matches {
			if compiled, guard := keep(call.args[1]); compiled != nil {
				call.of, call.guard = compiled, guard
			}
		}
		return call, nil
	case interpreter.InterpretableConstructor:
		return &boundedConstructor{node}, nil
	default:
		return node, nil
	}
}

// boundedConstructor wraps a literal of a list, an object or a struct.
type boundedConstructor struct {
	interpreter.InterpretableConstructor
}

func (c *boundedConstructor) Eval(a interpreter.Activation) ref.Val {
	return c.Exec(interpreter.AsFrame(a))
}

func (c *boundedConstructor) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return evaluationOf(frame).built(c.InterpretableConstructor.Exec(frame))
}

// boundedCall replaces a call of an operator or a function. CEL's own node evaluates
// the arguments and calls the function in one step; the check comes between the two.
type boundedCall struct {
	interpreter.InterpretableCall
	args  []interpreter.InterpretableV2
	of    *functions.Overload
	guard guard // may be nil
}

func (c *boundedCall) Eval(a interpreter.Activation) ref.Val {
	return c.Exec(interpreter.AsFrame(a))
}

func (c *boundedCall) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	args := make([]ref.Val, len(c.args))
	for i, arg := range c.args {
		if args[i] = arg.Exec(frame); types.IsUnknownOrError(args[i]) {
			return args[i]
		}
	}
	e := evaluationOf(frame)
	switch c.Function() {
	case operators.Add:
		if a, ok := args[0].(traits.Lister); ok {
			if b, ok := args[1].(traits.Lister); ok {
				return e.concat(a, b)
			}
		}
	case operators.In:
		if _, ok := args[1].(traits.Mapper); ok {
			return c.call(args) // a look-up, which walks nothing
		}
	case "size":
		if args[0].Type() != types.StringType {
			return c.call(args) // the size is known
		}
	}
	var all weight
	for _, arg := range args {
		w := e.take(arg)
		all.size += w.size
		all.work += w.work
	}
	if c.guard != nil {
		work, err := c.guard(args, all)
		if err != nil {
			return types.WrapErr(err)
		}
		e.charge(work)
	}
	return e.built(c.call(args))
}

// Args implements interpreter.InterpretableCall. CEL's own node allocates the list
// at each call.
func (c *boundedCall) Args() []interpreter.InterpretableV2 { return c.args }

// call calls the implementation in the way of CEL's own nodes.
func (c *boundedCall) call(args []ref.Val) ref.Val {
	if of := c.of; of.OperandTrait == 0 || args[0].Type().HasTrait(of.OperandTrait) {
		switch {
		case len(args) == 1 && of.Unary != nil:
			return types.LabelErrNode(c.ID(), of.Unary(args[0]))
		case len(args) == 2 && of.Binary != nil:
			return types.LabelErrNode(c.ID(), of.Binary(args[0], args[1]))
		case of.Function != nil:
			return types.LabelErrNode(c.ID(), of.Function(args...))
		}
	}
	if receiver, ok := args[0].(traits.Receiver); ok {
		return types.LabelErrNode(c.ID(), receiver.Receive(c.Function(), c.OverloadID(), args[1:]))
	}
	return types.NewErrWithNodeID(c.ID(), "no such overload: %s", c.Function())
}

var errResultTooLong = errors.New("the result would be too long")
