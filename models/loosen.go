package models

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// notes are what a person should read about a change before making it.
type notes []string

func (n *notes) add(format string, args ...any) { *n = append(*n, fmt.Sprintf(format, args...)) }

// switchedOn adds a note if a switch is turned on.
func (n *notes) switchedOn(before, after bool, text string) {
	if after && !before {
		n.add("loosens: %s", text)
	}
}

// longerLimit adds a note if a limit allows a longer life. NoIdleTimeout is no
// limit.
func (n *notes) longerLimit(key string, before, after time.Duration) {
	unlimited := func(d time.Duration) bool { return d == session.NoIdleTimeout }
	if !unlimited(before) && (unlimited(after) || after > before) {
		n.add("loosens: %s is longer, %s instead of %s", key, settings.Duration(after), settings.Duration(before))
	}
}

// newItems adds a note for each item of a list that was not in it before.
func (n *notes) newItems(what string, before, after []string) {
	for _, item := range after {
		if !slices.Contains(before, item) {
			n.add("loosens: new %s %q", what, item)
		}
	}
}

// loosenedList adds notes if a list that restricts something restricts it less.
func (n *notes) loosenedList(key string, before, after []string) {
	switch {
	case len(before) > 0 && len(after) == 0:
		n.add("loosens: %s no longer limits anything", key)
	case len(before) > 0:
		n.newItems(key+" entry", before, after)
	}
}

// clientNotes compares what a client may do with what it could do before or,
// with isDefault, with what a client with only the required settings may do. A
// new client loosens nothing.
func clientNotes(before, after settings.ClientSettings, isDefault bool) (n notes) {
	if isDefault {
		before = settings.ClientSettings{Auth: after.Auth, Grants: after.Grants, Scopes: after.Scopes, DefaultScopes: after.DefaultScopes, Origins: after.Origins,
			Audiences: after.Audiences, ResourceIdentifiers: after.ResourceIdentifiers, MaxSessionsPerUser: after.MaxSessionsPerUser, Allow: after.Allow, StatusList: after.StatusList}
	}
	n.switchedOn(!before.Disabled, !after.Disabled, "disabled is removed: the client is enabled again")
	n.switchedOn(before.Allow == "", after.Allow == "", "the allow rule is removed: everybody whom its issuers vouch for may sign in")
	if before.Allow != "" && after.Allow != "" && before.Allow != after.Allow {
		n.add("changes who may sign in: the allow rule differs")
	}
	n.switchedOn(before.Public(), after.Public(), "auth is none: the client no longer has a secret, and whoever knows its id may use it")
	n.switchedOn(before.Introspect == settings.IntrospectAll, after.Introspect == settings.IntrospectAll, "introspect is all: the client reads every token of the tenant")
	n.switchedOn(before.MintClientTokens, after.MintClientTokens, "mint_client_tokens: the client may sign in any user of its tenant")
	n.switchedOn(before.ManageSessions, after.ManageSessions, "manage_sessions: the client lists, ends and extends the sessions of every user")
	n.switchedOn(before.SessionToken, after.SessionToken, "session_token: the client gets handles that do not rotate")
	n.switchedOn(before.AllowPublicSessionToken, after.AllowPublicSessionToken, "allow_public_session_token: a copied handle works without a secret")
	n.switchedOn(before.AccessTokenTyp == "JWT", after.AccessTokenTyp == "JWT", "access_token_typ is JWT: access tokens look like any other JWT")
	n.switchedOn(!before.StatusList, !after.StatusList, "status_list is removed: verifiers no longer find revoked tokens there")
	p, q := before.Policy(), after.Policy()
	n.longerLimit("access_token_ttl", p.AccessTTL, q.AccessTTL)
	n.longerLimit("absolute_lifetime", p.AbsoluteTimeout, q.AbsoluteTimeout)
	n.longerLimit("inactivity_timeout", p.IdleTimeout, q.IdleTimeout)
	n.longerLimit("refresh_grace", p.RefreshGrace, q.RefreshGrace)
	n.longerLimit("max_lifetime", spanOr(before.MaxLifetime, 0), spanOr(after.MaxLifetime, 0))
	switch b, a := before.MaxSessionsPerUser, after.MaxSessionsPerUser; {
	case b != nil && a == nil:
		n.add("loosens: max_sessions_per_user is removed")
	case b != nil && a.Limit > b.Limit:
		n.add("loosens: max_sessions_per_user is %d instead of %d", a.Limit, b.Limit)
	}
	n.newItems("origin", before.Origins, after.Origins)
	n.newItems("grant", before.Grants, after.Grants)
	n.newItems("scope", before.Scopes, after.Scopes)
	n.newItems("audience", before.Audiences, after.Audiences)
	n.newItems("resource identifier", before.ResourceIdentifiers, after.ResourceIdentifiers)
	return n
}

// issuerNotes compares whom a trusted issuer may vouch for, and how, with the
// settings before or, with isDefault, with the defaults.
func issuerNotes(before, after settings.IssuerSettings, isDefault bool) (n notes) {
	if !isDefault {
		if before.SubjectPrefix != after.SubjectPrefix || subjectOf(before) != subjectOf(after) {
			n.add("renames users: with another subject or subject_prefix, everybody who signs in through this issuer becomes another user")
		}
		if before.ShareSubjects != after.ShareSubjects {
			n.add("renames users: share_subjects decides whether one subject of two issuers is one user")
		}
		if before.Issuer != after.Issuer || before.TokenType != after.TokenType {
			n.add("changes who may vouch for users: other tokens are accepted")
		}
		if !sameKeys(before.Keys, after.Keys) {
			n.add("changes who may vouch for users: the keys come from another source")
		}
		n.newItems("audience", before.Audiences, after.Audiences)
		n.newItems("algorithm", before.Algorithms, after.Algorithms)
	}
	n.switchedOn(!before.Disabled, !after.Disabled, "disabled is removed: the issuer is enabled again")
	n.switchedOn(before.AllowPrivateAddresses, after.AllowPrivateAddresses, "allow_private_addresses: its keys may be fetched from inside the network, and without TLS")
	n.switchedOn(before.MayRevoke, after.MayRevoke, "may_revoke: the identity provider may sign its users out everywhere")
	n.switchedOn(before.BackchannelLogout, after.BackchannelLogout, "backchannel_logout: the identity provider may end the sessions that it opened")
	n.switchedOn(before.UntypedLogoutTokens, after.UntypedLogoutTokens, "untyped_logout_tokens: logout tokens need no type in their header")
	n.newItems("revocation caller", before.RevocationCallers, after.RevocationCallers)
	n.switchedOn(before.MaxACR == "", after.MaxACR == "" && before.MaxACR != "", "max_acr is removed: its factors count towards every class")
	n.switchedOn(!isFalse(before.PublicClients), !isFalse(after.PublicClients), "public_clients is removed: clients without a secret may use its tokens")
	n.switchedOn(!isFalse(before.CreateUsers), !isFalse(after.CreateUsers), "create_users is removed: a first sign-in creates a user")
	n.switchedOn(before.Typ == "", after.Typ == "" && before.Typ != "", "typ is removed: tokens with another type in their header are accepted")
	for _, claim := range []string{"amr", "auth_time", "acr"} {
		n.switchedOn(before.MayAssert(claim), after.MayAssert(claim), "asserts: the issuer may state "+claim)
	}
	n.longerLimit("max_age", spanOr(before.MaxAge, 5*time.Minute), spanOr(after.MaxAge, 5*time.Minute))
	n.longerLimit("max_token_lifetime", spanOr(before.MaxTokenLifetime, tokenLifetime(after)), spanOr(after.MaxTokenLifetime, tokenLifetime(after)))
	n.longerLimit("leeway", spanOr(before.Leeway, 30*time.Second), spanOr(after.Leeway, 30*time.Second))
	n.loosenedList("clients", before.Clients, after.Clients)
	return n
}

// tokenLifetime returns the default of max_token_lifetime.
func tokenLifetime(s settings.IssuerSettings) time.Duration {
	if s.TokenType == settings.TokenTypeIDToken {
		return 24 * time.Hour
	}
	return 10 * time.Minute
}

func sameKeys(a, b settings.IssuerKeys) bool {
	return a.Discovery == b.Discovery && a.JWKSURI == b.JWKSURI && string(a.JWKS) == string(b.JWKS) && a.PEM == b.PEM
}

func subjectOf(s settings.IssuerSettings) string {
	if s.Subject == "" {
		return "token.sub"
	}
	return s.Subject
}

func isFalse(b *bool) bool { return b != nil && !*b }

func spanOr(d *settings.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return d.Std()
}

// tenantNotes compares the settings of a tenant.
func tenantNotes(before, after settings.TenantSpec) (n notes) {
	n.switchedOn(!before.Disabled, !after.Disabled, "disabled is removed: the tenant is enabled again")
	n.longerLimit("key_rotation", spanOr(before.KeyRotation, 90*24*time.Hour), spanOr(after.KeyRotation, 90*24*time.Hour))
	n.switchedOn(!isFalse(before.StoreDevice), !isFalse(after.StoreDevice), "store_device is removed: name, user agent and address of devices are stored")
	if !slices.Equal(before.ACR, after.ACR) {
		n.add("changes what acr means: other classes, or another order")
	}
	return n
}

// keptNotes returns notes about the values that a document leaves out and that
// are looser than the default: whoever wrote the document may not know of them.
func keptNotes[T any](stored, written settings.Document, compare func(defaults, kept T) notes) notes {
	doc := settings.Document{}
	for key, v := range stored {
		if written[key] == nil {
			doc[key] = v
		}
	}
	var defaults, kept T
	if doc.Decode(&kept) != nil {
		return nil
	}
	var n notes
	for _, text := range compare(defaults, kept) {
		n.add("kept from before, looser than the default: %s", strings.TrimPrefix(text, "loosens: "))
	}
	return n
}
