package expr

import (
	"slices"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
)

// Requires returns the members of a variable without which the expression yields
// nothing. It leaves out members of which it cannot tell: those of an expression that
// has a condition, handles a missing member, or does not compile.
func (e *Env) Requires(text, variable string) (members []string) {
	compiled, issues := e.env.Compile(text)
	if issues.Err() != nil {
		return nil
	}
	conditional := false
	ast.PreOrderVisit(compiled.NativeRep().Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		switch x.Kind() {
		case ast.ComprehensionKind:
			conditional = true
		case ast.SelectKind:
			switch of := x.AsSelect(); {
			case of.IsTestOnly():
				conditional = true
			case of.Operand().Kind() == ast.IdentKind && of.Operand().AsIdent() == variable:
				members = append(members, of.FieldName())
			}
		case ast.CallKind:
			conditional = conditional || slices.Contains(branches, x.AsCall().FunctionName())
		}
	}))
	if conditional {
		return nil
	}
	slices.Sort(members)
	return slices.Compact(members)
}

// branches are the operators with which an expression may yield something without a
// member that it names.
var branches = []string{operators.Conditional, operators.LogicalAnd, operators.LogicalOr, operators.In, operators.OptSelect, operators.OptIndex}
