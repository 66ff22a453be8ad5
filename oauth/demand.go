package oauth

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// maxACRValues is the largest number of classes that one request may name.
const maxACRValues = 20

// readDemand reads acr_values and max_age. An exchange or a refresh may contain
// them to demand a class or a recent authentication of its result (RFC 9470
// §4).
func readDemand(form url.Values) (session.Demand, error) {
	d := session.Demand{ACR: strings.Fields(form.Get("acr_values"))}
	if len(d.ACR) > maxACRValues {
		return d, invalidRequest(ReasonParameterInvalid, "acr_values must name at most 20 classes")
	}
	if text := form.Get("max_age"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return d, invalidRequest(ReasonParameterInvalid, "max_age must be a whole number of seconds")
		}
		d.MaxAge, d.HasMaxAge = time.Duration(seconds)*time.Second, true
	}
	return d, nil
}

// checkDemand returns the class that an access token of the session states, or
// rejects a demand that the session does not meet.
func (s *Server) checkDemand(c *Client, d session.Demand, row *models.Session, now time.Time) (session.Proof, error) {
	proofs := c.tenant.sessionAssurance(row).proofs
	stated, met := d.Choose(c.tenant.classes(), now, proofs)
	if !met {
		return stated, unmetDemand(d, now, proofs)
	}
	return stated, nil
}

// unmetDemand returns the refusal of a request whose result would be weaker
// than demanded (RFC 9470 §5). No token has been spent by then.
func unmetDemand(d session.Demand, now time.Time, proofs session.Proofs) *Error {
	return refuse("unmet_authentication_requirements", ReasonAuthenticationNotEnough,
		"The authentication does not satisfy "+unmetPart(d, now, proofs)+"; re-authenticate the user").compare(d.String(), proofs.Best().ACR)
}

// unmetPart describes which part of a demand is not met, and what the
// authentication reaches instead.
func unmetPart(d session.Demand, now time.Time, proofs session.Proofs) string {
	best := proofs.Best()
	switch {
	case best.ACR == "":
		return "acr_values or max_age: it reaches no class"
	case !d.HasMaxAge:
		return "acr_values: the strongest class that it reaches is " + best.ACR
	case best.Dated.IsZero():
		return "max_age: the trusted issuer sent no auth_time for the class " + best.ACR
	default:
		return fmt.Sprintf("acr_values or max_age: the strongest class that it reaches is %s, proved %s ago", best.ACR, max(0, now.Sub(best.Dated)).Truncate(time.Second))
	}
}
