package models

import "github.com/latchkey/latchkey/settings"

// TrustedIssuer is the row of a trusted issuer entry. A tenant may have several
// entries for one issuer if their token type or audiences differ. The ID stays
// the same when settings change; an entry that is removed and created again
// gets a new row.
type TrustedIssuer struct {
	TenantID          string                  `gorm:"primaryKey"`
	ID                string                  `gorm:"primaryKey"` // generated; sessions refer to it
	EntryID           string                  // its id in the configuration, unique among entries that are not removed
	Settings          settings.IssuerSettings `gorm:"serializer:json"`
	SealedSecret      []byte                  // HS256 shared secret
	RootVersion       int64                   // of the root secret whose key sealed it
	Disabled          bool                    // as in Settings, for use in statements
	SuspendedAt       Time                    // suspended by an operator, whatever Settings contain
	SessionsValidFrom Time                    // sessions created before are rejected
	MappedSince       IssuerMapping           `gorm:"serializer:json"` // nil: not recorded yet
	RemovedAt         Time                    // the row is deleted when its sessions have been swept
	CreatedAt         Time
	UpdatedAt         Time
}

// Enabled reports whether the entry is neither disabled nor suspended.
func (i TrustedIssuer) Enabled() bool { return !i.Disabled && i.SuspendedAt.IsZero() }
