package models

import (
	"maps"
	"slices"
	"strings"
)

const maxClaims = 50

// reservedClaims are set by us alone (CONFORMANCE R-EX-21, DESIGN §10): as
// custom claims they could pass for what we vouch for.
var reservedClaims = strings.Fields(`
	iss sub aud exp nbf iat jti client_id scope sid cnf act may_act auth_time acr amr status
	active token_type username nonce azp events sub_id token_introspection`)

// ReservedClaim says that a custom claim cannot have this name.
func ReservedClaim(name string) bool { return slices.Contains(reservedClaims, name) }

// claims checks the custom claims.
func (v *tenantValidation) claims(at string, claims map[string]string) {
	if len(claims) > maxClaims {
		v.Add(at, "must be at most %d", maxClaims)
	}
	v.expressions(at, claims, reservedClaims)
}

// expressions checks names that the operator chose for the results of
// expressions.
func (v *tenantValidation) expressions(at string, expressions map[string]string, reserved []string) {
	for _, name := range slices.Sorted(maps.Keys(expressions)) {
		path := Member(at, name)
		v.memberName(path, name, reserved)
		if strings.TrimSpace(expressions[name]) == "" {
			v.Add(path, "has no expression")
		}
	}
}

// memberName checks the name of a claim or an attribute.
func (v *tenantValidation) memberName(path, name string, reserved []string) {
	switch problem := text(64)(name); {
	case name == "":
		v.Add(path, "has no name")
	case problem != "":
		v.Add(path, "the name %s", problem)
	case slices.Contains(reserved, name):
		v.Add(path, "is a reserved name")
	}
}
