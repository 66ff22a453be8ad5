package settings

import (
	"slices"
	"time"

	"github.com/latchkey/latchkey/session"
)

// Client authentication of a client (RFC 6749 §2.3).
const (
	AuthNone   = "none"   // a public client, identified by client_id
	AuthSecret = "secret" // a confidential client, with HTTP Basic or in the form
)

// Grants as configuration names them.
const (
	GrantTokenExchange     = "token-exchange"
	GrantRefresh           = "refresh"
	GrantClientCredentials = "client-credentials"
)

// What happens to a new session when the session cap is reached.
const (
	EndOldest = "end_oldest"
	Reject    = "reject"
)

// Whether a refresh token may be retried after its retry window.
const (
	LateRetryOnce  = "once"  // at most once in nine refreshes, while its successor is unused
	LateRetryNever = "never" // a late retry ends the session
)

// Which tokens a client may introspect.
const (
	IntrospectAudience = "audience" // its own tokens, and those whose audience names it
	IntrospectAll      = "all"      // every token of its tenant
)

// ClientSettings holds the settings of an app client. It is stored as one document,
// so that every field is defined once, here.
type ClientSettings struct {
	Name                    string            `json:"name,omitempty" yaml:"name"`
	Auth                    string            `json:"auth" yaml:"auth"`     // none | secret
	Grants                  []string          `json:"grants" yaml:"grants"` // token-exchange, refresh, client-credentials
	Preset                  string            `json:"preset,omitempty" yaml:"preset"`
	AccessTokenTTL          *Duration         `json:"access_token_ttl,omitempty" yaml:"access_token_ttl"`
	AbsoluteLifetime        *Duration         `json:"absolute_lifetime,omitempty" yaml:"absolute_lifetime"`
	InactivityTimeout       *Duration         `json:"inactivity_timeout,omitempty" yaml:"inactivity_timeout"`
	RefreshGrace            *Duration         `json:"refresh_grace,omitempty" yaml:"refresh_grace"`
	LateRetry               string            `json:"late_retry,omitempty" yaml:"late_retry"` // once | never; absent: as in the preset
	MaxSessionsPerUser      *SessionCap       `json:"max_sessions_per_user,omitempty" yaml:"max_sessions_per_user"`
	Allow                   string            `json:"allow,omitempty" yaml:"allow"`   // CEL over token, client, user
	Claims                  map[string]string `json:"claims,omitempty" yaml:"claims"` // CEL over user, session
	Scopes                  []string          `json:"scopes,omitempty" yaml:"scopes"`
	DefaultScopes           *[]string         `json:"default_scopes,omitempty" yaml:"default_scopes"`             // absent: all of scopes
	Audiences               []string          `json:"audiences,omitempty" yaml:"audiences"`                       // targets that it may request
	ResourceIdentifiers     []string          `json:"resource_identifiers,omitempty" yaml:"resource_identifiers"` // URIs that name it as an audience
	Introspect              string            `json:"introspect,omitempty" yaml:"introspect"`                     // audience | all
	Origins                 []string          `json:"origins,omitempty" yaml:"origins"`
	SessionToken            bool              `json:"session_token,omitempty" yaml:"session_token"`
	AllowPublicSessionToken bool              `json:"allow_public_session_token,omitempty" yaml:"allow_public_session_token"`
	AccessTokenTyp          string            `json:"access_token_typ,omitempty" yaml:"access_token_typ"`     // at+jwt | JWT
	ManageSessions          bool              `json:"manage_sessions,omitempty" yaml:"manage_sessions"`       // may manage the sessions of every user of its tenant
	MintClientTokens        bool              `json:"mint_client_tokens,omitempty" yaml:"mint_client_tokens"` // may mint client tokens for users that it signs in itself
	MaxLifetime             *Duration         `json:"max_lifetime,omitempty" yaml:"max_lifetime"`             // limit of extended sessions; absent: sessions cannot be extended
	StatusList              bool              `json:"status_list,omitempty" yaml:"status_list"`               // its sessions get an entry in a status list
	PreviousUntil           *Until            `json:"previous_until,omitempty" yaml:"previous_until"`         // when PreviousSecret expires; absent: 7 days after it is set
	Disabled                bool              `json:"disabled,omitempty" yaml:"disabled"`
}

// SessionCap bounds how many sessions one user may have at one client.
type SessionCap struct {
	Limit    int    `json:"limit" yaml:"limit"`                   // at least 1
	WhenFull string `json:"when_full,omitempty" yaml:"when_full"` // end_oldest (default) | reject
}

// ClientSpec is an app client in a configuration file.
type ClientSpec struct {
	ID             string `yaml:"id"`
	ClientSettings `yaml:",inline"`
	Secret         string `yaml:"secret"`          // at least 32 characters
	SecretFile     string `yaml:"secret_file"`     // the loader reads it into Secret
	PreviousSecret string `yaml:"previous_secret"` // accepted in addition to Secret while a new secret is rolled out

	Place

	SecretStored bool `json:"-" yaml:"-"` // a secret is already stored
}

// Policy returns the client's preset, overridden by its own fields.
func (c ClientSettings) Policy() session.Policy {
	p := session.Presets[c.Preset]
	override := func(field *time.Duration, by *Duration) {
		if by != nil {
			*field = by.Std()
		}
	}
	override(&p.AccessTTL, c.AccessTokenTTL)
	override(&p.AbsoluteTimeout, c.AbsoluteLifetime)
	override(&p.IdleTimeout, c.InactivityTimeout)
	override(&p.RefreshGrace, c.RefreshGrace)
	switch {
	case c.LateRetry != "":
		p.LateRetry = c.LateRetry == LateRetryOnce
	case p.RefreshGrace == 0: // without a retry window, late retries must be enabled explicitly
		p.LateRetry = false
	}
	return p
}

// Public reports whether the client has no secret.
func (c ClientSettings) Public() bool { return c.Auth == AuthNone }

// HasGrant reports whether the client may use the grant.
func (c ClientSettings) HasGrant(grant string) bool { return slices.Contains(c.Grants, grant) }

// Scope returns the scopes that the client gets if it requests none.
func (c ClientSettings) Scope() []string {
	if c.DefaultScopes != nil {
		return *c.DefaultScopes
	}
	return c.Scopes
}
