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
	PreviousUntil     Time                    `gorm:"column:previous_secret_until"` // when the previous one ends
	Disabled          bool                    // as in Settings, for statements to ask
	SuspendedAt       Time                    // switched off by an operator, whatever Settings say
	SessionsValidFrom Time                    // sessions created before are refused
	AccessTTL         *settings.Duration      // as in Settings, for statements to ask; nil: not noted yet
	LongerAccessTTL   *settings.Duration      // the longest that it was before, until LongerUntil
	LongerUntil       Time
	RemovedAt         Time // the row goes when its sessions have been swept
	CreatedAt         Time
	UpdatedAt         Time
}

// Enabled reports whether the client is neither disabled nor suspended. Its
// tenant is asked separately.
func (c Client) Enabled() bool { return !c.Disabled && c.SuspendedAt.IsZero() }

// PreviousAccepted reports whether the previous secret, if there is one, has
// not ended. One without an end was written by an earlier release.
func (c *Client) PreviousAccepted(now time.Time) bool {
	return c.PreviousUntil.IsZero() || now.Before(c.PreviousUntil.Time)
}

// Digest is a keyed digest and the version of the root secret whose key made it.
type Digest struct {
	Digest      []byte
	RootVersion int64
}
