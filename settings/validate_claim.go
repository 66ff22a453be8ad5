package settings

import (
	"maps"
	"slices"
	"strings"
)

// MaxClaims bounds the custom claims of a client.
const MaxClaims = 50

// reservedClaims lists the claims that only the server sets (R-EX-21). A custom
// claim with such a name could pass for the server's own statement.
var reservedClaims = strings.Fields(`
	iss sub aud exp nbf iat jti client_id scope sid cnf act may_act auth_time acr amr acr_times status session_expiry
	active token_type username nonce azp events sub_id token_introspection`)

// reservedPrefix is reserved for future claims of the server.
const reservedPrefix = "latchkey_"

// ReservedClaim reports whether no custom claim may have this name.
func ReservedClaim(name string) bool {
	return slices.Contains(reservedClaims, name) || strings.HasPrefix(name, reservedPrefix)
}

// claims checks the custom claims.
func (v *tenantValidation) claims(at string, claims map[string]string) {
	if len(claims) > MaxClaims {
		v.Add(at, "must have at most %d entries", MaxClaims)
	}
	v.expressions(at, claims, ReservedClaim)
}

// expressions checks a map from operator-chosen names to expressions.
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
