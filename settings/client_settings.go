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
	Name                    string            `json:"name,omitempty" yaml:"name" doc:"A name for people"`
	Auth                    string            `json:"auth" yaml:"auth" doc:"none (a public client) or secret (HTTP Basic, or in the form)"`
	Grants                  []string          `json:"grants" yaml:"grants" doc:"token-exchange, refresh, client-credentials. Without refresh, a session ends with its access token"`
	Preset                  string            `json:"preset,omitempty" yaml:"preset" doc:"consumer, high_security, mobile, aal2 or aal3. Each of the lifetimes, refresh_grace and late_retry overrides it"`
	AccessTokenTTL          *Duration         `json:"access_token_ttl,omitempty" yaml:"access_token_ttl" doc:"How long an access token is valid: 30s to 24h; default 5m"`
	AbsoluteLifetime        *Duration         `json:"absolute_lifetime,omitempty" yaml:"absolute_lifetime" doc:"The maximum time from sign-in; default 30d. Using the session does not extend it"`
	InactivityTimeout       *Duration         `json:"inactivity_timeout,omitempty" yaml:"inactivity_timeout" doc:"The maximum time without a refresh, or none; default 5d. At least twice access_token_ttl"`
	RefreshGrace            *Duration         `json:"refresh_grace,omitempty" yaml:"refresh_grace" doc:"The retry window, in which a used refresh token returns the same tokens again: 0s to 60s; default 10s"`
	LateRetry               string            `json:"late_retry,omitempty" yaml:"late_retry" doc:"once or never: whether a used refresh token may be accepted once after the retry window; default once"`
	MaxSessionsPerUser      *SessionCap       `json:"max_sessions_per_user,omitempty" yaml:"max_sessions_per_user" doc:"How many sessions a user may have at the client; default: no limit"`
	Allow                   string            `json:"allow,omitempty" yaml:"allow" doc:"A CEL expression over token, client and user. Only true allows the sign-in"`
	Claims                  map[string]string `json:"claims,omitempty" yaml:"claims" doc:"Custom claims of access tokens: a CEL expression over user and session for each name"`
	Scopes                  []string          `json:"scopes,omitempty" yaml:"scopes" doc:"The scopes that the client may have"`
	DefaultScopes           *[]string         `json:"default_scopes,omitempty" yaml:"default_scopes" doc:"The scopes that the client gets if it requests none; default: all of scopes"`
	Audiences               []string          `json:"audiences,omitempty" yaml:"audiences" doc:"The targets that the client may request with audience or resource"`
	ResourceIdentifiers     []string          `json:"resource_identifiers,omitempty" yaml:"resource_identifiers" doc:"The URIs under which the client, as a resource server, is an audience"`
	Introspect              string            `json:"introspect,omitempty" yaml:"introspect" doc:"audience (default): tokens that name the client; all: every token of the tenant"`
	Origins                 []string          `json:"origins,omitempty" yaml:"origins" doc:"The origins of the pages that call the server"`
	SessionToken            bool              `json:"session_token,omitempty" yaml:"session_token" doc:"Return an opaque handle of the session in addition to the tokens"`
	AllowPublicSessionToken bool              `json:"allow_public_session_token,omitempty" yaml:"allow_public_session_token" doc:"Allow a session token although the client is public"`
	AccessTokenTyp          string            `json:"access_token_typ,omitempty" yaml:"access_token_typ" doc:"The typ of access tokens: at+jwt (default) or JWT"`
	ManageSessions          bool              `json:"manage_sessions,omitempty" yaml:"manage_sessions" doc:"The client may list, end and extend the sessions of every user of the tenant; needs auth: secret"`
	MintClientTokens        bool              `json:"mint_client_tokens,omitempty" yaml:"mint_client_tokens" doc:"The client may mint client tokens for users that it has signed in itself; needs auth: secret"`
	MaxLifetime             *Duration         `json:"max_lifetime,omitempty" yaml:"max_lifetime" doc:"How far a session may be extended, counted from its start; default: not at all"`
	StatusList              bool              `json:"status_list,omitempty" yaml:"status_list" doc:"Access tokens of new sessions name an entry of a status list; needs token-exchange"`
	PreviousUntil           *Until            `json:"previous_until,omitempty" yaml:"previous_until" doc:"When previous_secret expires: a time, or a duration from now; default 7d"`
	Disabled                bool              `json:"disabled,omitempty" yaml:"disabled" doc:"Reject the client and end its sessions"`
}

// SessionCap bounds how many sessions one user may have at one client.
type SessionCap struct {
	Limit    int    `json:"limit" yaml:"limit" doc:"The maximum number, at least 1"`
	WhenFull string `json:"when_full,omitempty" yaml:"when_full" doc:"end_oldest (default): a new session ends the oldest; reject: the sign-in is rejected"`
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
