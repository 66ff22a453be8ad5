package settings

import (
	"slices"
	"time"

	"github.com/latchkey/latchkey/session"
)

// Client authentication of a client (RFC 6749 §2.3).
const (
	AuthNone   = "none"   // a public client: it names itself by client_id
	AuthSecret = "secret" // a confidential client: Basic and post alike
)

// Grants as configuration names them.
const (
	GrantTokenExchange     = "token-exchange"
	GrantRefresh           = "refresh"
	GrantClientCredentials = "client-credentials"
)

// What a full session cap does to one more session.
const (
	EndOldest = "end_oldest"
	Reject    = "reject"
)

// Whether a used refresh token may be answered after its retry window.
const (
	LateRetryOnce  = "once"  // once in nine refreshes, while its successor is unused
	LateRetryNever = "never" // it ends its session
)

// Whose tokens a client may introspect.
const (
	IntrospectAudience = "audience" // those that name it
	IntrospectAll      = "all"      // every token of its tenant
)

// ClientSettings is what an operator says of an app client. It is stored as
// one document, so that every field is written down once, here.
type ClientSettings struct {
	Name                    string            `json:"name,omitempty" yaml:"name"`
	Auth                    string            `json:"auth" yaml:"auth"`     // none | secret
	Grants                  []string          `json:"grants" yaml:"grants"` // token-exchange, refresh, client-credentials
	Preset                  string            `json:"preset,omitempty" yaml:"preset"`
	AccessTokenTTL          *Duration         `json:"access_token_ttl,omitempty" yaml:"access_token_ttl"`
	AbsoluteLifetime        *Duration         `json:"absolute_lifetime,omitempty" yaml:"absolute_lifetime"`
	InactivityTimeout       *Duration         `json:"inactivity_timeout,omitempty" yaml:"inactivity_timeout"`
	RefreshGrace            *Duration         `json:"refresh_grace,omitempty" yaml:"refresh_grace"`
	LateRetry               string            `json:"late_retry,omitempty" yaml:"late_retry"` // once | never; absent: what the preset says
	MaxSessionsPerUser      *SessionCap       `json:"max_sessions_per_user,omitempty" yaml:"max_sessions_per_user"`
	Allow                   string            `json:"allow,omitempty" yaml:"allow"`   // CEL over token, client, user
	Claims                  map[string]string `json:"claims,omitempty" yaml:"claims"` // CEL over user, session
	Scopes                  []string          `json:"scopes,omitempty" yaml:"scopes"`
	DefaultScopes           *[]string         `json:"default_scopes,omitempty" yaml:"default_scopes"`             // absent: all of scopes
	Audiences               []string          `json:"audiences,omitempty" yaml:"audiences"`                       // targets it may ask for
	ResourceIdentifiers     []string          `json:"resource_identifiers,omitempty" yaml:"resource_identifiers"` // URIs under which it is an audience
	Introspect              string            `json:"introspect,omitempty" yaml:"introspect"`                     // audience | all
	Origins                 []string          `json:"origins,omitempty" yaml:"origins"`
	SessionToken            bool              `json:"session_token,omitempty" yaml:"session_token"`
	AllowPublicSessionToken bool              `json:"allow_public_session_token,omitempty" yaml:"allow_public_session_token"`
	AccessTokenTyp          string            `json:"access_token_typ,omitempty" yaml:"access_token_typ"` // at+jwt | JWT
	ManageSessions          bool              `json:"manage_sessions,omitempty" yaml:"manage_sessions"`   // of every user of its tenant
	MaxLifetime             *Duration         `json:"max_lifetime,omitempty" yaml:"max_lifetime"`         // to which its sessions may be extended; absent: not at all
	StatusList              bool              `json:"status_list,omitempty" yaml:"status_list"`           // its sessions get an entry of a status list
	PreviousUntil           *Until            `json:"previous_until,omitempty" yaml:"previous_until"`     // until when PreviousSecret is accepted; absent: 7 days after it is set
	Disabled                bool              `json:"disabled,omitempty" yaml:"disabled"`
}

// SessionCap bounds how many sessions one user may have at one client.
type SessionCap struct {
	Limit    int    `json:"limit" yaml:"limit"`                   // at least 1
	WhenFull string `json:"when_full,omitempty" yaml:"when_full"` // end_oldest (default) | reject
}

// ClientSpec is an app client as a configuration file gives it.
type ClientSpec struct {
	ID             string `yaml:"id"`
	ClientSettings `yaml:",inline"`
	Secret         string `yaml:"secret"`          // at least 32 characters
	SecretFile     string `yaml:"secret_file"`     // read by the loader into Secret
	PreviousSecret string `yaml:"previous_secret"` // accepted beside Secret while a change rolls out

	Place

	SecretStored bool `json:"-" yaml:"-"` // a secret is stored, and stays
}

// Policy is the client's preset with its own fields on top.
func (c ClientSettings) Policy() session.Policy {
	p := session.Presets[c.Preset]
	override := func(field *time.Duration, by *Duration) {
		if by != nil {
			*field = by.Of()
		}
	}
	override(&p.AccessTTL, c.AccessTokenTTL)
	override(&p.AbsoluteTimeout, c.AbsoluteLifetime)
	override(&p.IdleTimeout, c.InactivityTimeout)
	override(&p.RefreshGrace, c.RefreshGrace)
	switch {
	case c.LateRetry != "":
		p.LateRetry = c.LateRetry == LateRetryOnce
	case p.RefreshGrace == 0: // who wants no retry window wants none later either, unless it is written out
		p.LateRetry = false
	}
	return p
}

// Public says that the client has no secret.
func (c ClientSettings) Public() bool { return c.Auth == AuthNone }

// HasGrant says that the client may use the grant.
func (c ClientSettings) HasGrant(grant string) bool { return slices.Contains(c.Grants, grant) }

// Scope is what the client gets when it asks for no scope.
func (c ClientSettings) Scope() []string {
	if c.DefaultScopes != nil {
		return *c.DefaultScopes
	}
	return c.Scopes
}
