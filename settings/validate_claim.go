package settings

import (
	"maps"
	"slices"
	"strings"
)

const maxClaims = 50

// reservedClaims are set by the server alone (R-EX-21): as custom claims they
// could pass for statements that it vouches for.
var reservedClaims = strings.Fields(`
	iss sub aud exp nbf iat jti client_id scope sid cnf act may_act auth_time acr amr acr_times status session_expiry
	active token_type username nonce azp events sub_id token_introspection`)

// reservedPrefix begins the names that we may give to claims of our own later.
const reservedPrefix = "latchkey_"

// ReservedClaim reports whether no custom claim may have this name.
func ReservedClaim(name string) bool {
	return slices.Contains(reservedClaims, name) || strings.HasPrefix(name, reservedPrefix)
}

// claims checks the custom claims.
func (v *tenantValidation) claims(at string, claims map[string]string) {
	if len(claims) > maxClaims {
		v.Add(at, "must be at most %d", maxClaims)
	}
	v.expressions(at, claims, ReservedClaim)
}

// expressions checks names that the operator chose for the results of
// expressions.
func (v *tenantValidation) expressions(at string, expressions map[string]string, reserved func(name string) bool) {
	for _, name := range slices.Sorted(maps.Keys(expressions)) {
		path := Member(at, name)
		v.memberName(path, name, reserved)
		if strings.TrimSpace(expressions[name]) == "" {
			v.Add(path, "has no expression")
		}
	}
}

// memberName checks the name of a claim or an attribute.
func (v *tenantValidation) memberName(path, name string, reserved func(name string) bool) {
	switch problem := text(64)(name); {
	case name == "":
		v.Add(path, "has no name")
	case problem != "":
		v.Add(path, "the name %s", problem)
	case reserved(name):
		v.Add(path, "is a reserved name")
	}
}
