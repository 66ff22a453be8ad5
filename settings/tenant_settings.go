package settings

import "time"

// DefaultTenant is the tenant whose issuer is the base URL itself.
const DefaultTenant = "default"

// TenantSpec is a tenant with everything in it, as a configuration file gives
// it. The fields with a JSON name are its own settings, which are stored as one
// document.
type TenantSpec struct {
	ID               string       `json:"-" yaml:"id"`
	SigningAlgorithm string       `json:"signing_algorithm" yaml:"signing_algorithm"` // RS256 (default) | ES256 | Ed25519
	KeyRotation      *Duration    `json:"key_rotation" yaml:"key_rotation"`           // how old a signing key gets; none: for ever; default 90d
	Disabled         bool         `json:"disabled" yaml:"disabled"`
	StoreDevice      *bool        `json:"store_device" yaml:"store_device"`     // default true
	UserRetention    *Duration    `json:"user_retention" yaml:"user_retention"` // how long users are kept who do not sign in; default none: for ever
	ACR              []ACRClass   `json:"acr" yaml:"acr"`                       // from the weakest to the strongest; absent: session.DefaultClasses
	TrustedIssuers   []IssuerSpec `json:"-" yaml:"trusted_issuers"`
	Clients          []ClientSpec `json:"-" yaml:"clients"`
	Users            []UserSpec   `json:"-" yaml:"users"`

	Place `json:"-"`
}

// ACRClass is one authentication context class of a tenant, and the rule that
// says when it is reached.
type ACRClass struct {
	Value string `json:"value" yaml:"value"`
	When  string `json:"when" yaml:"when"` // CEL over amr, kinds, factors
}

// UserSpec is a user as a configuration file gives it.
type UserSpec struct {
	Sub        string         `yaml:"sub"`
	Attributes map[string]any `yaml:"attributes"`
	Disabled   bool           `yaml:"disabled"`

	Place
}

// EventRetention is how long the event log goes back.
const EventRetention = 90 * 24 * time.Hour
