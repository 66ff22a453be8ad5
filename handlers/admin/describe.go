package admin

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/latchkey/latchkey/models"
)

// rolesExtension is the member of an operation in the document that lists the roles
// which may call it.
const rolesExtension = "x-latchkey-roles"

// operationRoles lists the roles that may call each operation. It is for the document:
// the operations themselves check the role.
var operationRoles = map[string]roles{
	"list-tenants": everyone, "get-tenant": everyone, "put-tenant": owners, "patch-tenant": owners, "delete-tenant": owners,
	"suspend-tenant": owners, "resume-tenant": owners,
	"list-clients": everyone, "get-client": everyone, "put-client": admins, "patch-client": admins, "delete-client": admins,
	"new-client-secret": admins, "suspend-client": admins, "resume-client": admins,
	"list-trusted-issuers": everyone, "get-trusted-issuer": everyone, "put-trusted-issuer": admins, "patch-trusted-issuer": admins,
	"delete-trusted-issuer": admins, "check-trusted-issuer": admins, "suspend-trusted-issuer": admins, "resume-trusted-issuer": admins,
	"list-users": everyone, "get-user": everyone, "put-user": admins, "patch-user": admins, "delete-user": admins,
	"end-user-sessions": support, "suspend-user": support, "resume-user": support, "mint-client-token": admins,
	"list-sessions": everyone, "get-session": everyone, "export-sessions": admins, "end-session": support, "end-sessions": support,
	"patch-session": admins, "extend-session": admins,
	"list-signing-keys": readers, "rotate-signing-key": admins, "retire-signing-key": admins,
	"list-events": readers, "follow-events": readers, "list-deployment-events": owners, "get-stats": readers,
	"list-event-destinations": readers, "get-event-destination": readers, "put-event-destination": admins,
	"patch-event-destination": admins, "delete-event-destination": admins, "new-event-destination-secret": admins,
	"enable-event-destination": admins, "test-event-destination": admins, "list-deliveries": readers, "redeliver": admins,
	"get-self": everyone, "list-admin-keys": owners, "create-admin-key": owners, "revoke-admin-key": owners,
	"explain": support, "apply": admins, "export": admins,
}

// names returns the roles as the document lists them.
func (r roles) names() []string {
	list := []string{}
	for _, role := range []models.Role{models.RoleOwner, models.RoleAdmin, models.RoleSupport, models.RoleViewer} {
		for _, has := range r {
			if has == role {
				list = append(list, string(role))
			}
		}
	}
	return list
}

// settingDescriptions describes the settings of clients, trusted issuers and tenants by
// schema. The structs of package settings have no room for it.
var settingDescriptions = map[string]map[string]string{
	"Client": {
		"name":                       "A name for people",
		"auth":                       "none (a public client) or secret (HTTP Basic, or in the form)",
		"grants":                     "token-exchange, refresh, client-credentials. Without refresh, a session ends with its access token",
		"preset":                     "consumer, high_security, mobile, aal2 or aal3. Each of the lifetimes, refresh_grace and late_retry overrides it",
		"access_token_ttl":           "How long an access token is valid: 30s to 24h; default 5m",
		"absolute_lifetime":          "The maximum time from sign-in; default 30d. Using the session does not extend it",
		"inactivity_timeout":         "The maximum time without a refresh, or none; default 5d. At least twice access_token_ttl",
		"refresh_grace":              "The retry window, in which a used refresh token returns the same tokens again: 0s to 60s; default 10s",
		"late_retry":                 "once or never: whether a used refresh token may be accepted once after the retry window; default once",
		"max_sessions_per_user":      "How many sessions a user may have at the client; default: no limit",
		"allow":                      "A CEL expression over token, client and user. Only true allows the sign-in",
		"claims":                     "Custom claims of access tokens: a CEL expression over user and session for each name",
		"scopes":                     "The scopes that the client may have",
		"default_scopes":             "The scopes that the client gets if it requests none; default: all of scopes",
		"audiences":                  "The targets that the client may request with audience or resource",
		"resource_identifiers":       "The URIs under which the client, as a resource server, is an audience",
		"introspect":                 "audience (default): tokens that name the client; all: every token of the tenant",
		"origins":                    "The origins of the pages that call the server",
		"session_token":              "Return an opaque handle of the session in addition to the tokens",
		"allow_public_session_token": "Allow a session token although the client is public",
		"access_token_typ":           "The typ of access tokens: at+jwt (default) or JWT",
		"manage_sessions":            "The client may list, end and extend the sessions of every user of the tenant; needs auth: secret",
		"mint_client_tokens":         "The client may mint client tokens for users that it has signed in itself; needs auth: secret",
		"max_lifetime":               "How far a session may be extended, counted from its start; default: not at all",
		"status_list":                "Access tokens of new sessions name an entry of a status list; needs token-exchange",
		"previous_until":             "When previous_secret expires: a time, or a duration from now; default 7d",
		"disabled":                   "Reject the client and end its sessions",
	},
	"Issuer": {
		"issuer":                  "The exact iss of its tokens",
		"token_type":              "jwt (a client token) or id_token (the ID token of an OpenID provider)",
		"keys":                    "Where its keys come from: exactly one of the members",
		"algorithms":              "The accepted alg values; default RS256, or HS256 with a shared secret",
		"audiences":               "Every aud of a token must be listed. Default: the issuer URL of the tenant; required for id_token",
		"typ":                     "A typ that is accepted in addition to JWT and no typ",
		"max_age":                 "The maximum time since iat; default 5m",
		"max_token_lifetime":      "The maximum of exp − iat; default 10m, or 24h for id_token",
		"leeway":                  "The tolerance for differences between clocks; default 30s",
		"subject":                 "A CEL expression over token that yields the user's id; default token.sub",
		"user_attributes":         "Attributes of the user: a CEL expression over token for each name",
		"session_attributes":      "Attributes of the session: a CEL expression over token for each name",
		"amr":                     "A CEL expression over token that yields the list of methods; default: the claim amr",
		"asserts":                 "Which claims about the authentication count: amr, auth_time, acr; default amr and auth_time",
		"max_acr":                 "The highest class of assurance that its factors count towards",
		"clients":                 "The clients that may exchange its tokens; default: all",
		"public_clients":          "Public clients may exchange its tokens; default true",
		"create_users":            "The first sign-in of a user creates the user; default true",
		"subject_prefix":          "The prefix of its users' ids. A change renames its users",
		"share_subjects":          "Other trusted issuers with the same prefix may sign in the same users",
		"allow_private_addresses": "Its keys may be fetched from private addresses and over http; only a key with the role owner may set it",
		"disabled":                "Reject its tokens and end the sessions that began with them",
	},
	"IssuerKeys": {
		"discovery": "Use jwks_uri of its metadata",
		"jwks_uri":  "The URL of its key set",
		"jwks":      "The key set itself (RFC 7517 §5)",
		"pem":       "One or more public keys",
		"internal":  "The issuer is the tenant itself: client tokens that its back ends mint",
	},
	"SessionCap": {
		"limit":     "The maximum number, at least 1",
		"when_full": "end_oldest (default): a new session ends the oldest; reject: the sign-in is rejected",
	},
	"ACRClass": {
		"value": "The value of acr",
		"when":  "A CEL expression over amr and factors: whether they satisfy the class",
	},
}

// membersOfSettings are the members of settings that are objects themselves.
var membersOfSettings = map[string]string{"keys": "IssuerKeys", "max_sessions_per_user": "SessionCap"}

// describeSettings adds the descriptions of settings to the schemas of the document.
func (a *api) describeSettings() {
	schemas := a.OpenAPI().Components.Schemas.Map()
	for name, descriptions := range settingDescriptions {
		for _, suffix := range []string{"", "Request", "Patch"} {
			if s := schemas[name+suffix]; s != nil {
				describeMembers(s, descriptions)
			}
		}
	}
}

func describeMembers(s *huma.Schema, descriptions map[string]string) {
	for name, member := range s.Properties {
		described := *member // the schemas of a request and of a patch share it
		if described.Description == "" {
			described.Description = descriptions[name]
		}
		if nested := settingDescriptions[membersOfSettings[name]]; len(described.Properties) > 0 && nested != nil {
			describeMembers(&described, nested)
		}
		s.Properties[name] = &described
	}
}

// describeRoles adds the roles that may call an operation to the document.
func describeRoles(op *huma.Operation) {
	if op.Extensions == nil {
		op.Extensions = map[string]any{}
	}
	op.Extensions[rolesExtension] = operationRoles[op.OperationID].names()
}

// methods lists the methods of a path's operations in the order of the reference page.
var methods = []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodPost, http.MethodDelete}
