package settings

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/latchkey/latchkey/session"
)

const (
	maxClasses  = 20  // as many as a request may name
	maxACRValue = 100 // every access token contains one
)

// acrValue checks a value for acr_values, which is separated by spaces and may be
// sent in a quoted-string (RFC 9470 §3).
var acrValue = matches(regexp.MustCompile(fmt.Sprintf(`^[!#-\[\]-~]{1,%d}$`, maxACRValue)), fmt.Sprintf(`1–%d printable ASCII characters without spaces, " and \`, maxACRValue))

// acrValues returns the tenant's classes, from weakest to strongest.
func (t *TenantSpec) acrValues() []string {
	if len(t.ACR) == 0 {
		return session.ACRValues
	}
	values := make([]string, len(t.ACR))
	for i, c := range t.ACR {
		values[i] = c.Value
	}
	return values
}

// acrClasses checks the tenant's own classes. Package oauth compiles their rules.
func (v *tenantValidation) acrClasses() {
	at := v.at + ".acr"
	if v.ACR == nil {
		return
	}
	v.notEmpty(at, make([]string, len(v.ACR)))
	if len(v.ACR) > maxClasses {
		v.Add(at, "must have at most %d entries", maxClasses)
	}
	values := seen{}
	for i, c := range v.ACR {
		path := fmt.Sprintf("%s[%d]", at, i)
		v.required(path+".value", c.Value, acrValue)
		values.note(&v.Faults, path+".value", c.Value)
		if strings.TrimSpace(c.When) == "" {
			v.Add(path+".when", "has no expression")
		}
	}
}
