package models

import (
	"time"

	"github.com/latchkey/latchkey/settings"
)

// Client is the row of an app client.
type Client struct {
	TenantID          string                  `gorm:"primaryKey"`
	ID                string                  `gorm:"primaryKey"`
	Settings          settings.ClientSettings `gorm:"serializer:json"`
	SecretDigest      Digest                  `gorm:"embedded;embeddedPrefix:secret_"`
	PreviousDigest    Digest                  `gorm:"embedded;embeddedPrefix:previous_secret_"`
	PreviousUntil     Time                    `gorm:"column:previous_secret_until"` // when the previous secret ends
	Disabled          bool                    // as in Settings, for use in statements
	SuspendedAt       Time                    // suspended by an operator, whatever Settings contain
	SessionsValidFrom Time                    // sessions created before are rejected
	AccessTTL         *settings.Duration      // as in Settings, for use in statements; nil: not recorded yet
	LongerAccessTTL   *settings.Duration      // the longest earlier one, until LongerUntil
	LongerUntil       Time
	RemovedAt         Time // the row is deleted when its sessions have been swept
	CreatedAt         Time
	UpdatedAt         Time
}

// Enabled reports whether the client is neither disabled nor suspended. It does
// not check the client's tenant.
func (c Client) Enabled() bool { return !c.Disabled && c.SuspendedAt.IsZero() }

// PreviousAccepted reports whether the previous secret, if there is one, is
// still accepted. A previous secret without an end was written by an earlier
// release.
func (c *Client) PreviousAccepted(now time.Time) bool {
	return c.PreviousUntil.IsZero() || now.Before(c.PreviousUntil.Time)
}

// Digest is a keyed digest and the version of the root secret whose key made it.
type Digest struct {
	Digest      []byte
	RootVersion int64
}
