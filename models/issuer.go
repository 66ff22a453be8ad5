package models

import "github.com/latchkey/latchkey/settings"

// TrustedIssuer is the row of an issuer entry. A tenant may have several for
// one issuer, if token type or audiences differ. Its ID outlives any change of
// its settings; an entry that is made again gets another row.
type TrustedIssuer struct {
	TenantID          string                  `gorm:"primaryKey"`
	ID                string                  `gorm:"primaryKey"` // made by us; sessions refer to it
	EntryID           string                  // its id in configuration, unique among those that are not removed
	Settings          settings.IssuerSettings `gorm:"serializer:json"`
	SealedSecret      []byte                  // HS256 shared secret
	RootVersion       int64                   // whose seal key closed it
	Disabled          bool                    // as in Settings, for statements to ask
	SuspendedAt       Time                    // switched off by an operator, whatever Settings say
	SessionsValidFrom Time                    // sessions created before are refused
	MappedSince       IssuerMapping           `gorm:"serializer:json"` // nil: not noted yet
	RemovedAt         Time                    // the row goes when its sessions have been swept
	CreatedAt         Time
	UpdatedAt         Time
}

// Enabled reports whether the entry is neither disabled nor suspended.
func (i TrustedIssuer) Enabled() bool { return !i.Disabled && i.SuspendedAt.IsZero() }
