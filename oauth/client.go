package oauth

import (
	"sync/atomic"
	"time"

	"github.com/latchkey/latchkey/models"
)

// Client is an app client as a node holds it.
type Client struct {
	models.Client
	tenant *Tenant
	allow  *expression // nil: everybody
	claims mapping

	origins models.OriginSet

	renewed atomic.Bool // its secret has been digested under the issuing root
}

// validFrom is the moment before which no session of the client is accepted.
func (c *Client) validFrom() time.Time {
	from := c.CreatedAt.Time
	for _, mark := range []time.Time{c.SessionsValidFrom.Time, c.tenant.row.SessionsValidFrom.Time} {
		if mark.After(from) {
			from = mark
		}
	}
	return from
}

// limits are the ends of a session that is proved at now. Without the refresh
// grant it ends with its access token.
func (c *Client) newExpiries(now time.Time) (absolute, idle time.Time) {
	policy := c.Settings.Policy()
	if !c.Settings.HasGrant(models.GrantRefresh) {
		return now.Add(policy.AccessTTL), time.Time{}
	}
	return now.Add(policy.AbsoluteTimeout), policy.IdleExpiry(now)
}

// enabled says that neither the client nor its tenant is switched off.
func (c *Client) enabled() bool { return c.Enabled() && c.tenant.row.Enabled() }
