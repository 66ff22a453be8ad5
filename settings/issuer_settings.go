package settings

import "encoding/json"

// Kinds of tokens of a trusted issuer.
const (
	TokenTypeJWT     = "jwt"
	TokenTypeIDToken = "id_token"
)

// IssuerSettings holds the settings of an issuer whose client tokens a tenant
// accepts. It is stored as one document, like ClientSettings.
type IssuerSettings struct {
	Issuer     string     `json:"issuer" yaml:"issuer"`         // exact iss
	TokenType  string     `json:"token_type" yaml:"token_type"` // jwt | id_token
	Keys       IssuerKeys `json:"keys" yaml:"keys"`
	Algorithms []string   `json:"algorithms,omitempty" yaml:"algorithms"` // default RS256, or HS256 with a shared secret
	Audiences  []string   `json:"audiences,omitempty" yaml:"audiences"`   // default: the tenant's issuer; id_token: the provider's client id
	Typ        string     `json:"typ,omitempty" yaml:"typ"`               // accepted header typ, in addition to JWT and none

	MaxAge           *Duration `json:"max_age,omitempty" yaml:"max_age"`                       // age since iat; default 5m
	MaxTokenLifetime *Duration `json:"max_token_lifetime,omitempty" yaml:"max_token_lifetime"` // exp − iat; default 10m, id_token: 24h
	Leeway           *Duration `json:"leeway,omitempty" yaml:"leeway"`                         // default 30s

	Subject           string            `json:"subject,omitempty" yaml:"subject"`                       // CEL over token; default token.sub
	UserAttributes    map[string]string `json:"user_attributes,omitempty" yaml:"user_attributes"`       // CEL over token
	SessionAttributes map[string]string `json:"session_attributes,omitempty" yaml:"session_attributes"` // CEL over token
	AMR               string            `json:"amr,omitempty" yaml:"amr"`                               // CEL over token; default: the claim amr
	Asserts           *[]string         `json:"asserts,omitempty" yaml:"asserts"`                       // subset of amr, auth_time, acr; default [amr, auth_time]
	MaxACR            string            `json:"max_acr,omitempty" yaml:"max_acr"`

	Clients       []string `json:"clients,omitempty" yaml:"clients"`               // that may exchange its tokens; default all
	PublicClients *bool    `json:"public_clients,omitempty" yaml:"public_clients"` // default true
	CreateUsers   *bool    `json:"create_users,omitempty" yaml:"create_users"`     // default true

	SubjectPrefix string `json:"subject_prefix,omitempty" yaml:"subject_prefix"` // its namespace of subjects
	ShareSubjects bool   `json:"share_subjects,omitempty" yaml:"share_subjects"`

	// What the identity provider may end.
	MayRevoke             bool     `json:"may_revoke,omitempty" yaml:"may_revoke"`                           // users, at {iss}/global-token-revocation and {iss}/security-events
	RevocationTyp         string   `json:"revocation_typ,omitempty" yaml:"revocation_typ"`                   // header typ of its tokens for {iss}/global-token-revocation
	RevocationCallers     []string `json:"revocation_callers,omitempty" yaml:"revocation_callers"`           // sub of those tokens
	SecurityEventAudience string   `json:"security_event_audience,omitempty" yaml:"security_event_audience"` // aud of its security events; default {iss}/security-events
	BackchannelLogout     bool     `json:"backchannel_logout,omitempty" yaml:"backchannel_logout"`           // its sessions, at {iss}/backchannel-logout
	UntypedLogoutTokens   bool     `json:"untyped_logout_tokens,omitempty" yaml:"untyped_logout_tokens"`     // accept logout tokens with the header typ JWT or none

	AllowPrivateAddresses bool `json:"allow_private_addresses,omitempty" yaml:"allow_private_addresses"`
	Disabled              bool `json:"disabled,omitempty" yaml:"disabled"`
}

// IssuerKeys locates the keys of an issuer. Exactly one source is set.
type IssuerKeys struct {
	Discovery bool            `json:"discovery,omitempty" yaml:"discovery"` // use jwks_uri of its metadata
	JWKSURI   string          `json:"jwks_uri,omitempty" yaml:"jwks_uri"`
	JWKS      json.RawMessage `json:"jwks,omitempty" yaml:"jwks"`         // a JSON Web Key Set, RFC 7517 §5
	Internal  bool            `json:"internal,omitempty" yaml:"internal"` // those of the tenant itself: of {iss}/client-tokens
	PEM       string          `json:"pem,omitempty" yaml:"pem"`           // one or more public keys

	// SharedSecret (HS256, at least 32 bytes) is sealed in its own column and is
	// never part of the stored document.
	SharedSecret     string `json:"-" yaml:"shared_secret"`
	SharedSecretFile string `json:"-" yaml:"shared_secret_file"` // the loader reads it into SharedSecret

	Stored bool `json:"-" yaml:"-"` // a shared secret is already stored
}

// Given reports whether a member is set.
func (k IssuerKeys) Given() bool {
	return k.Discovery || k.Internal || k.JWKSURI != "" || k.JWKS != nil || k.PEM != "" || k.SharedSecret != "" || k.SharedSecretFile != ""
}

// IssuerSpec is a trusted issuer in a configuration file.
type IssuerSpec struct {
	ID             string `yaml:"id"` // unique in its tenant; see EntryID
	IssuerSettings `yaml:",inline"`

	Place
}

// KnowsUpstream reports whether sessions and users of the entry record by which names
// the identity provider knows them.
func (s IssuerSettings) KnowsUpstream() bool { return s.MayRevoke || s.BackchannelLogout }

// MayAssert reports whether the entry's tokens may assert claim (amr, auth_time, acr).
func (s IssuerSettings) MayAssert(claim string) bool {
	if s.Asserts == nil {
		return claim == "amr" || claim == "auth_time"
	}
	for _, c := range *s.Asserts {
		if c == claim {
			return true
		}
	}
	return false
}
