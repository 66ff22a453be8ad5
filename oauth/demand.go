package oauth

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/session"
)

// maxACRValues bounds how many classes one request may name.
const maxACRValues = 20

// readDemand reads `acr_values` and `max_age`, which an exchange may carry as a
// demand on its result (CONFORMANCE C-10, RFC 9470 §4).
func readDemand(form url.Values) (session.Demand, error) {
	d := session.Demand{ACR: strings.Fields(form.Get("acr_values"))}
	if len(d.ACR) > maxACRValues {
		return d, invalidRequest(ReasonParameterInvalid, "acr_values has more than 20 values")
	}
	if text := form.Get("max_age"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return d, invalidRequest(ReasonParameterInvalid, "max_age must be a number of seconds")
		}
		d.MaxAge, d.Fresh = time.Duration(seconds)*time.Second, true
	}
	return d, nil
}

// unmetDemand refuses a result that would be weaker than what was demanded
// (RFC 9470 §5). Nothing has been spent by then.
func unmetDemand() *Error {
	return refuse("unmet_authentication_requirements", ReasonAuthenticationNotEnough,
		"The authentication does not satisfy acr_values or max_age; re-authenticate the user")
}
