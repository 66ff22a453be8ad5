package oauth

import (
	"sync/atomic"
	"time"

	"github.com/ory/fosite"

	"github.com/latchkey/latchkey/models"
)

// Client is an app client as a node holds it. It implements fosite.Client.
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
func (c *Client) limits(now time.Time) (absolute, idle time.Time) {
	policy := c.Settings.Policy()
	if !c.Settings.HasGrant(models.GrantRefresh) {
		return now.Add(policy.AccessTTL), time.Time{}
	}
	return now.Add(policy.AbsoluteTimeout), policy.IdleExpiry(now)
}

// enabled says that neither the client nor its tenant is switched off.
func (c *Client) enabled() bool { return c.Enabled() && c.tenant.row.Enabled() }

// The methods of fosite.Client.

// GetID implements fosite.Client.
func (c *Client) GetID() string { return c.ID }

// GetHashedSecret implements fosite.Client; the server authenticates itself.
func (c *Client) GetHashedSecret() []byte { return nil }

// GetRedirectURIs implements fosite.Client.
func (c *Client) GetRedirectURIs() []string { return nil }

// GetGrantTypes implements fosite.Client.
func (c *Client) GetGrantTypes() fosite.Arguments {
	var types fosite.Arguments
	for _, g := range c.Settings.Grants {
		types = append(types, wireGrant[g])
	}
	return types
}

// GetResponseTypes implements fosite.Client.
func (c *Client) GetResponseTypes() fosite.Arguments { return nil }

// GetScopes implements fosite.Client.
func (c *Client) GetScopes() fosite.Arguments { return c.Settings.Scopes }

// IsPublic implements fosite.Client.
func (c *Client) IsPublic() bool { return c.Settings.Public() }

// GetAudience implements fosite.Client.
func (c *Client) GetAudience() fosite.Arguments { return c.Settings.Audiences }
