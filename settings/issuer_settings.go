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
	Issuer     string     `json:"issuer" yaml:"issuer" doc:"The exact iss of its tokens"`
	TokenType  string     `json:"token_type" yaml:"token_type" doc:"jwt (a client token) or id_token (the ID token of an OpenID provider)"`
	Keys       IssuerKeys `json:"keys" yaml:"keys" doc:"Where its keys come from: exactly one of the members"`
	Algorithms []string   `json:"algorithms,omitempty" yaml:"algorithms" doc:"The accepted alg values; default RS256, or HS256 with a shared secret"`
	Audiences  []string   `json:"audiences,omitempty" yaml:"audiences" doc:"Every aud of a token must be listed. Default: the issuer URL of the tenant; required for id_token"`
	Typ        string     `json:"typ,omitempty" yaml:"typ" doc:"A typ that is accepted in addition to JWT and no typ"`

	MaxAge           *Duration `json:"max_age,omitempty" yaml:"max_age" doc:"The maximum time since iat; default 5m"`
	MaxTokenLifetime *Duration `json:"max_token_lifetime,omitempty" yaml:"max_token_lifetime" doc:"The maximum of exp − iat; default 10m, or 24h for id_token"`
	Leeway           *Duration `json:"leeway,omitempty" yaml:"leeway" doc:"The tolerance for differences between clocks; default 30s"`

	Subject           string            `json:"subject,omitempty" yaml:"subject" doc:"A CEL expression over token that yields the user's id; default token.sub"`
	UserAttributes    map[string]string `json:"user_attributes,omitempty" yaml:"user_attributes" doc:"Attributes of the user: a CEL expression over token for each name"`
	SessionAttributes map[string]string `json:"session_attributes,omitempty" yaml:"session_attributes" doc:"Attributes of the session: a CEL expression over token for each name"`
	AMR               string            `json:"amr,omitempty" yaml:"amr" doc:"A CEL expression over token that yields the list of methods; default: the claim amr"`
	Asserts           *[]string         `json:"asserts,omitempty" yaml:"asserts" doc:"Which claims about the authentication count: amr, auth_time, acr; default amr and auth_time"`
	MaxACR            string            `json:"max_acr,omitempty" yaml:"max_acr" doc:"The highest class of assurance that its factors count towards"`

	Clients       []string `json:"clients,omitempty" yaml:"clients" doc:"The clients that may exchange its tokens; default: all"`
	PublicClients *bool    `json:"public_clients,omitempty" yaml:"public_clients" doc:"Public clients may exchange its tokens; default true"`
	CreateUsers   *bool    `json:"create_users,omitempty" yaml:"create_users" doc:"The first sign-in of a user creates the user; default true"`

	SubjectPrefix string `json:"subject_prefix,omitempty" yaml:"subject_prefix" doc:"The prefix of its users' ids. A change renames its users"`
	ShareSubjects bool   `json:"share_subjects,omitempty" yaml:"share_subjects" doc:"Other trusted issuers with the same prefix may sign in the same users"`

	// What the identity provider may end.
	MayRevoke             bool     `json:"may_revoke,omitempty" yaml:"may_revoke" doc:"The issuer may sign its users out, at {iss}/global-token-revocation and {iss}/security-events"`
	RevocationTyp         string   `json:"revocation_typ,omitempty" yaml:"revocation_typ" doc:"The typ of its tokens for {iss}/global-token-revocation"`
	RevocationCallers     []string `json:"revocation_callers,omitempty" yaml:"revocation_callers" doc:"The accepted sub of its tokens for {iss}/global-token-revocation"`
	RevocationEmail       string   `json:"revocation_email_attribute,omitempty" yaml:"revocation_email_attribute" doc:"The attribute by which a subject identifier with an email finds users; one of searchable_attributes of the tenant"`
	SecurityEventAudience string   `json:"security_event_audience,omitempty" yaml:"security_event_audience" doc:"The aud of its security events; default {iss}/security-events"`
	BackchannelLogout     bool     `json:"backchannel_logout,omitempty" yaml:"backchannel_logout" doc:"The issuer may end its sessions, at {iss}/backchannel-logout"`
	UntypedLogoutTokens   bool     `json:"untyped_logout_tokens,omitempty" yaml:"untyped_logout_tokens" doc:"Accept logout tokens whose typ is JWT or absent"`

	AllowPrivateAddresses bool `json:"allow_private_addresses,omitempty" yaml:"allow_private_addresses" doc:"Its keys may be fetched from private addresses and over http; only a key with the role owner may set it"`
	Disabled              bool `json:"disabled,omitempty" yaml:"disabled" doc:"Reject its tokens and end the sessions that began with them"`
}

// IssuerKeys locates the keys of an issuer. Exactly one source is set.
type IssuerKeys struct {
	Discovery bool            `json:"discovery,omitempty" yaml:"discovery" doc:"Use jwks_uri of its metadata"`
	JWKSURI   string          `json:"jwks_uri,omitempty" yaml:"jwks_uri" doc:"The URL of its key set"`
	JWKS      json.RawMessage `json:"jwks,omitempty" yaml:"jwks" doc:"The key set itself (RFC 7517 §5)"`
	Internal  bool            `json:"internal,omitempty" yaml:"internal" doc:"The issuer is the tenant itself: client tokens that its back ends mint"`
	PEM       string          `json:"pem,omitempty" yaml:"pem" doc:"One or more public keys"`

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
