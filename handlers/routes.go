package handlers

import (
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// callers are those that an endpoint is for. The CORS rules follow from them.
type callers int

const (
	anyone   callers = iota // a public document: pages of any origin may read it
	browsers                // apps, including those in a browser: pages of listed origins may read it
	either                  // browsers with their user's token, and back ends with HTTP Basic
	backEnds                // no browser: a request with an Origin is rejected
)

// endpoint is one path below an issuer.
type endpoint struct {
	path    string // as gin writes it, with ":" before a name
	callers callers
	stream  bool // a response may continue for as long as the caller reads it
	methods []method
}

// method is one method of an endpoint. Either oauth or document handles it.
type method struct {
	name     string
	summary  string // for docs/endpoints.md
	oauth    func(*oauth.Server, http.ResponseWriter, *http.Request, *oauth.Call)
	document func(*edge, *gin.Context)
}

// endpoints are served below every issuer. Routes, preflight requests, CORS and
// time limits follow from this table, and docs/endpoints.md lists it.
var endpoints = []*endpoint{
	{path: "/token", callers: browsers, methods: []method{
		{name: "POST", summary: "Issues tokens: token exchange, refresh, client credentials (RFC 6749 §3.2, RFC 8693)", oauth: (*oauth.Server).Token},
	}},
	{path: "/revoke", callers: browsers, methods: []method{
		{name: "POST", summary: "Revokes a token, which ends its session (RFC 7009)", oauth: (*oauth.Server).Revoke},
	}},
	{path: "/introspect", callers: backEnds, methods: []method{
		{name: "POST", summary: "Reports whether a token is active, and its claims (RFC 7662, RFC 9701)", oauth: (*oauth.Server).Introspect},
	}},
	{path: "/session", callers: browsers, methods: []method{
		{name: "GET", summary: "Returns the caller's session", oauth: (*oauth.Server).Session},
		{name: "DELETE", summary: "Ends the caller's session", oauth: (*oauth.Server).SignOut},
	}},
	{path: "/sessions", callers: either, methods: []method{
		{name: "GET", summary: "Lists the sessions of a user", oauth: (*oauth.Server).Sessions},
		{name: "DELETE", summary: "Ends all sessions of a user, or all others", oauth: (*oauth.Server).EndSessions},
	}},
	{path: "/sessions/:sid", callers: either, methods: []method{
		{name: "GET", summary: "Returns one session", oauth: (*oauth.Server).NamedSession},
		{name: "DELETE", summary: "Ends one session", oauth: (*oauth.Server).EndSession},
	}},
	{path: "/sessions/:sid/extend", callers: backEnds, methods: []method{
		{name: "POST", summary: "Moves the absolute end of a session", oauth: (*oauth.Server).ExtendSession},
	}},
	{path: "/client-tokens", callers: backEnds, methods: []method{
		{name: "POST", summary: "Mints a client token for a user whom a back end has signed in itself", oauth: (*oauth.Server).ClientTokens},
	}},
	{path: settings.GlobalRevocationPath, callers: backEnds, methods: []method{
		{name: "POST", summary: "Signs a user out everywhere on behalf of their identity provider (draft-parecki-oauth-global-token-revocation)", oauth: (*oauth.Server).GlobalTokenRevocation},
	}},
	{path: settings.BackchannelLogoutPath, callers: backEnds, methods: []method{
		{name: "POST", summary: "Ends the sessions that an identity provider names (OpenID Connect Back-Channel Logout)", oauth: (*oauth.Server).BackchannelLogout},
	}},
	{path: settings.SecurityEventsPath, callers: backEnds, methods: []method{
		{name: "POST", summary: "Receives security event tokens of an identity provider (RFC 8935)", oauth: (*oauth.Server).SecurityEvents},
	}},
	{path: "/userinfo", callers: browsers, methods: []method{
		{name: "GET", summary: "Returns the user's id and custom claims (OpenID Connect Core §5.3)", oauth: (*oauth.Server).UserInfo},
		{name: "POST", summary: "Returns the same as GET", oauth: (*oauth.Server).UserInfo},
	}},
	{path: "/revocations", callers: backEnds, stream: true, methods: []method{
		{name: "GET", summary: "Returns what is revoked, as a document or as a stream of events", oauth: (*oauth.Server).Revocations},
	}},
	{path: "/ssf/stream", callers: backEnds, methods: []method{
		{name: "GET", summary: "Returns an event stream of the client, or all (SSF 1.0)", oauth: (*oauth.Server).ReadStream},
		{name: "POST", summary: "Creates an event stream", oauth: (*oauth.Server).CreateStream},
		{name: "PATCH", summary: "Changes parts of an event stream", oauth: (*oauth.Server).UpdateStream},
		{name: "PUT", summary: "Replaces the configuration of an event stream", oauth: (*oauth.Server).ReplaceStream},
		{name: "DELETE", summary: "Deletes an event stream", oauth: (*oauth.Server).DeleteStream},
	}},
	{path: "/ssf/status", callers: backEnds, methods: []method{
		{name: "GET", summary: "Returns the status of an event stream", oauth: (*oauth.Server).ReadStreamStatus},
		{name: "POST", summary: "Enables, pauses or disables an event stream", oauth: (*oauth.Server).UpdateStreamStatus},
	}},
	{path: "/ssf/verify", callers: backEnds, methods: []method{
		{name: "POST", summary: "Sends a verification event over an event stream", oauth: (*oauth.Server).VerifyStream},
	}},
	{path: "/ssf/poll/:destination", callers: backEnds, stream: true, methods: []method{
		{name: "POST", summary: "Returns security event tokens, and takes acknowledgements (RFC 8936)", oauth: (*oauth.Server).Poll},
	}},
	{path: "/status/:list", callers: anyone, methods: []method{
		{name: "GET", summary: "Returns a status list token", document: (*edge).statusList},
	}},
	{path: "/.well-known/jwks.json", callers: anyone, methods: []method{
		{name: "GET", summary: "Returns the public signing keys (RFC 7517)", document: (*edge).jwks},
	}},
	{path: "/.well-known/openid-configuration", callers: anyone, methods: []method{
		{name: "GET", summary: "Returns the metadata of the issuer (OpenID Connect Discovery)", document: (*edge).metadata},
	}},
	{path: "/.well-known/oauth-authorization-server", callers: anyone, methods: []method{
		{name: "GET", summary: "Returns the same metadata (RFC 8414)", document: (*edge).metadata},
	}},
	{path: "/.well-known/ssf-configuration", callers: anyone, methods: []method{
		{name: "GET", summary: "Returns the metadata of the issuer as a transmitter of security events (SSF 1.0)", document: (*edge).ssfMetadata},
	}},
}

// register adds the endpoint's routes to those of an issuer.
func (e *edge) register(iss *gin.RouterGroup, p *endpoint) {
	for _, m := range p.methods {
		if m.document != nil {
			public(iss, p.path, func(c *gin.Context) { m.document(e, c) })
			continue
		}
		iss.Handle(m.name, p.path, e.serve(m.oauth))
	}
	if p.callers == browsers || p.callers == either {
		iss.OPTIONS(p.path, e.preflight(p.methodNames()))
	}
	e.byRoute[path.Join(iss.BasePath(), p.path)] = p
}

// methodNames returns the endpoint's methods in the format of
// Access-Control-Allow-Methods.
func (p *endpoint) methodNames() string {
	names := make([]string, len(p.methods))
	for i, m := range p.methods {
		names[i] = m.name
	}
	return strings.Join(names, ", ")
}

// matches reports whether the endpoint has the given path below the issuer.
func (p *endpoint) matches(name string) bool {
	return slices.EqualFunc(strings.Split(p.path, "/"), strings.Split(name, "/"), func(pattern, segment string) bool {
		return pattern == segment || strings.HasPrefix(pattern, ":") && segment != ""
	})
}

// endpointOf returns the endpoint of the request's route, or nil if the route
// does not belong to an issuer.
func (e *edge) endpointOf(c *gin.Context) *endpoint { return e.byRoute[c.FullPath()] }

// noBrowsers reports whether the request must not come from a browser.
func (e *edge) noBrowsers(c *gin.Context) bool {
	p := e.endpointOf(c)
	return p != nil && (p.callers == backEnds || p.callers == either && oauth.AsClient(c.Request))
}
