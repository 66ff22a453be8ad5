package settings

import "time"

// DefaultTenant is the tenant whose issuer is the base URL itself.
const DefaultTenant = "default"

// TenantSpec is a tenant in a configuration file, with its contents. The fields with
// a JSON name are its own settings, which are stored as one document.
type TenantSpec struct {
	ID                   string         `json:"-" yaml:"id"`
	SigningAlgorithm     string         `json:"signing_algorithm" yaml:"signing_algorithm"` // RS256 (default) | ES256 | Ed25519
	KeyRotation          *Duration      `json:"key_rotation" yaml:"key_rotation"`           // age at which a signing key is replaced; none: never; default 90d
	Disabled             bool           `json:"disabled" yaml:"disabled"`
	StoreDevice          *bool          `json:"store_device" yaml:"store_device"`                   // default true
	UserRetention        *Duration      `json:"user_retention" yaml:"user_retention"`               // users who have not signed in for this long are deleted; default none: never
	ACR                  []ACRClass     `json:"acr" yaml:"acr"`                                     // from weakest to strongest; absent: session.DefaultClasses
	SearchableAttributes []string       `json:"searchable_attributes" yaml:"searchable_attributes"` // attributes by whose exact value users can be searched for
	Events               *EventSettings `json:"events" yaml:"events"`
	TrustedIssuers       []IssuerSpec   `json:"-" yaml:"trusted_issuers"`
	Clients              []ClientSpec   `json:"-" yaml:"clients"`
	Users                []UserSpec     `json:"-" yaml:"users"`

	EventDestinations []DestinationSpec `json:"-" yaml:"event_destinations"`

	Place `json:"-"`
}

// ACRClass is an authentication context class of a tenant, with the rule for
// reaching it.
type ACRClass struct {
	Value string `json:"value" yaml:"value" doc:"The value of acr"`
	When  string `json:"when" yaml:"when" doc:"A CEL expression over amr and factors: whether they satisfy the class"`
}

// UserSpec is a user in a configuration file.
type UserSpec struct {
	Sub        string         `yaml:"sub"`
	Attributes map[string]any `yaml:"attributes"`
	Disabled   bool           `yaml:"disabled"`

	Place
}

// EventSettings are the settings of a tenant's event log.
type EventSettings struct {
	Retention *Duration `json:"retention,omitempty" yaml:"retention" doc:"How long events are kept, from 7d to 3650d; default 90d"`
}

// EventRetention is how long the event log keeps the events of a tenant that does not
// set events.retention.
const EventRetention = 90 * 24 * time.Hour

// The bounds of events.retention. Deliveries are retried for 3 days, and a revocation
// matters for little more than a day.
const (
	minEventRetention = 7 * 24 * time.Hour
	maxEventRetention = 3650 * 24 * time.Hour
)
