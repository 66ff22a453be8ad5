package models

import (
	"time"

	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// longestAccess is an SQL expression for the longest lifetime of an access
// token of a client that may still be in use. Its parameters are the current
// time, the tenant, the client, and the lifetime to assume if the client no
// longer exists or was written by an earlier release.
const longestAccess = `COALESCE((SELECT CASE WHEN c.longer_until > ? THEN c.longer_access_ttl ELSE c.access_ttl END
	FROM clients c WHERE c.tenant_id = ? AND c.id = ?), ?)`

// recordAccessTTL records the lifetime of the client's access tokens and, while
// tokens with an earlier, longer lifetime may still be valid, that lifetime
// too. It reports whether the row changed.
func (c *Client) recordAccessTTL(created bool, now time.Time) (changed bool) {
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
