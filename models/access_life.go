package models

import (
	"time"

	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// longestAccess is the longest life of an access token of a client that may
// still be shown; its parameters are the moment, the tenant and the client, and
// what counts for a client that is gone, or that an earlier release wrote.
const longestAccess = `COALESCE((SELECT CASE WHEN c.longer_until > ? THEN c.longer_access_ttl ELSE c.access_ttl END
	FROM clients c WHERE c.tenant_id = ? AND c.id = ?), ?)`

// keepAccessTTL notes how long the access tokens of the client now live and,
// until the last one of a longer life is over, how long they lived before. It
// says whether the row has changed.
func (c *Client) keepAccessTTL(created bool, now time.Time) (changed bool) {
	ttl := settings.Duration(c.Settings.Policy().AccessTTL)
	if c.AccessTTL != nil && *c.AccessTTL == ttl {
		return false
	}
	before := settings.Duration(session.MaxAccessTTL)
	switch {
	case created:
		before = ttl
	case c.AccessTTL != nil:
		before = *c.AccessTTL
	}
	if c.LongerUntil.After(now) {
		before = max(before, *c.LongerAccessTTL)
	}
	c.AccessTTL, c.LongerAccessTTL, c.LongerUntil = &ttl, nil, Time{}
	if before > ttl {
		c.LongerAccessTTL, c.LongerUntil = &before, At(now.Add(lastIssue+session.MaxAccessTTL))
	}
	return true
}
