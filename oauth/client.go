package oauth

import (
	"sync/atomic"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/settings"
)

// Client is an app client as a node has loaded it.
type Client struct {
	models.Client
	tenant *Tenant
	allow  *expr.Expression // nil: everybody is allowed
	claims expr.Mapping

	origins settings.OriginSet

	renewed atomic.Bool // its secret is digested under the issuing root
}

// validFrom returns the time before which no session of the client is accepted.
func (c *Client) validFrom() time.Time {
	from := c.CreatedAt.Time
	for _, mark := range []time.Time{c.SessionsValidFrom.Time, c.tenant.row.SessionsValidFrom.Time} {
		if mark.After(from) {
			from = mark
		}
	}
	return from
}

// newExpiries returns the expiries of a session whose user authenticates at
// now. Without the refresh grant, a session expires with its access token.
func (c *Client) newExpiries(now time.Time) (absolute, idle time.Time) {
	policy := c.Settings.Policy()
	if !c.Settings.HasGrant(settings.GrantRefresh) {
		return now.Add(policy.AccessTTL), time.Time{}
	}
	return now.Add(policy.AbsoluteTimeout), policy.IdleExpiry(now)
}

// enabled reports whether the client and its tenant are enabled.
func (c *Client) enabled() bool { return c.Enabled() && c.tenant.row.Enabled() }
