package console

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

func clientRoutes() []route {
	const client = "/t/:tenant/clients/:client"
	return []route{
		page("/t/:tenant/clients", "list-clients", (*visit).clients),
		page("/t/:tenant/clients/new", "put-client", (*visit).newClient),
		form("/t/:tenant/clients/new", "put-client", (*visit).createClient),
		page(client, "get-client", (*visit).showClient),
		form(client, "patch-client", (*visit).saveClient),
		form(client+"/document", "put-client", (*visit).saveClientDocument),
		page(client+"/claims", "get-client", (*visit).clientClaims),
		form(client+"/claims", "patch-client", (*visit).saveClaims),
		page(client+"/integrate", "get-client", (*visit).integrateClient),
		page(client+"/secret", "new-client-secret", (*visit).newSecretPage),
		form(client+"/secret", "new-client-secret", (*visit).newSecret),
		page(client+"/suspend", "suspend-client", (*visit).suspendClient),
		form(client+"/suspend", "suspend-client", (*visit).suspendClient),
		form(client+"/resume", "resume-client", (*visit).resumeClient),
		page(client+"/delete", "delete-client", (*visit).deleteClient),
		form(client+"/delete", "delete-client", (*visit).deleteClient),
	}
}

// clientList is the content of the page Clients.
type clientList struct {
	Query  string
	States []choice
	Chosen bool // a state
	Rows   []clientRow
	pager
}

type clientRow struct {
	admin.Client
	Name, Kind string
	Href       string
}

func (v *visit) clients() error {
	p, err := admin.NewPage(v.query("cursor"), 50, v.query("q"))
	if err != nil {
		return err
	}
	list, err := v.Admin.Clients(v.ctx(), v.Caller, v.Tenant, models.ClientState(v.query("state")), p)
	if err != nil {
		return err
	}
	data := clientList{Query: v.query("q"), Chosen: v.query("state") != ""}
	for _, state := range []choice{{Label: "any state"}, {Value: "enabled", Label: "enabled"}, {Value: "disabled", Label: "disabled"}, {Value: "suspended", Label: "suspended"}} {
		state.On = state.Value == v.query("state")
		data.States = append(data.States, state)
	}
	for _, c := range list.Items {
		s, err := clientSettings(&c)
		if err != nil {
			return err
		}
		data.Rows = append(data.Rows, clientRow{c, s.Name, clientKind(s), v.at("clients", c.ID)})
	}
	data.pager = v.pager(list.NextCursor)
	return v.render("clients", "Clients", data)
}

func clientSettings(c *admin.Client) (s settings.ClientSettings, err error) {
	err = c.Settings.Decode(&s)
	return s, err
}

// clientKind describes a client by what it may do.
func clientKind(s settings.ClientSettings) string {
	switch {
	case s.HasGrant(settings.GrantTokenExchange) && s.Public():
		return "web or mobile app"
	case s.HasGrant(settings.GrantTokenExchange):
		return "back end with users"
	case s.HasGrant(settings.GrantClientCredentials):
		return "API or service"
	default:
		return "checks tokens"
	}
}

// clientPage is the content of the pages of one client.
type clientPage struct {
	*admin.Client
	Form     settings.ClientSettings
	Name     string // its name, or its id
	Tab      string
	Limits   string // how long its users stay signed in
	Fields   []field
	Editable bool
	Document document
	Previews bool // the role may try other expressions, also for a client of the file

	Snippets []snippet // of the tab Integrate
	Claims   *claimsForm
	Secret   *admin.NewSecret // which was just made
}

// Field returns a setting of the form.
func (p *clientPage) Field(name string) *field { return named(p.Fields, name) }

// clientFields returns the settings that have a field. The rule and the claims have a
// page of their own.
func clientFields() []field {
	preset := field{Name: "preset", Label: "Limits", Kind: pickField, Users: true}
	for _, p := range presets {
		preset.Options = append(preset.Options, choice{Value: p.name, Label: p.label, Hint: limits(session.Presets[p.name]) + " Access tokens are valid for " + duration(session.Presets[p.name].AccessTTL) + "."})
	}
	const sessions, tokens, state = "Sessions", "Tokens", "State"
	return []field{
		{Name: "name", Label: "Name", Kind: textField, Hint: "For people. The id stays."},
		preset,
		{Name: "absolute_lifetime", Label: "Longest session", Kind: textField, Users: true, Hint: "From sign-in, however often it is used. Such as 30d."},
		{Name: "inactivity_timeout", Label: "Ends without use after", Kind: textField, Users: true, Hint: "Such as 5d, or none."},
		{Name: "access_token_ttl", Label: "Access tokens are valid for", Kind: textField, Users: true, Hint: "30s to 24h."},
		{Name: "refresh_grace", Label: "Retry window", Kind: textField, Users: true, Hint: "A used refresh token returns the same tokens again for this long: 0s to 60s."},
		{Name: "grants", Label: "It may", Kind: checkField, Options: []choice{
			{Value: settings.GrantTokenExchange, Label: "Exchange client tokens for sessions"},
			{Value: settings.GrantRefresh, Label: "Refresh sessions", Hint: "Without this, a session ends with its access token."},
			{Value: settings.GrantClientCredentials, Label: "Get tokens for itself", Hint: "Needs a secret."},
		}},
		{Name: "scopes", Label: "Scopes", Kind: wordsField, Hint: "Separated by spaces."},
		{Name: "audiences", Label: "APIs that its tokens may be for", Kind: linesField, Hint: "The ids of clients or their URIs, one a line. A token is for the client itself, unless the app names some of these."},
		{Name: "origins", Label: "Origins of its pages", Kind: linesField, Hint: "Pages of these origins, such as https://app.example.com, may call the server. One a line."},
		{Name: "resource_identifiers", Label: "URIs of this API", Kind: linesField, Hint: "The audiences of tokens that name this API, beside its id. One a line."},
		{Name: "status_list", Label: "Put sessions on a status list", Kind: flagField, Hint: "Gateways that cannot follow the feed then learn of an end within a minute."},
		{Name: "session_token", Label: "Also return a session token", Kind: flagField, Hint: "An opaque handle that does not rotate. Needs a secret."},
		{Name: "manage_sessions", Label: "It may list and end the sessions of all users", Kind: flagField, Hint: "Needs a secret."},
		{Name: "mint_client_tokens", Label: "It may mint client tokens", Kind: flagField, Hint: "For users that it has signed in itself. Needs a secret."},

		{Name: "max_sessions_per_user.limit", Group: sessions, Label: "Sessions of one user at most", Kind: wholeField, Users: true, Placeholder: "no limit", Hint: "At this client."},
		{Name: "max_sessions_per_user.when_full", Group: sessions, Label: "When a user has that many", Kind: pickField, Users: true, Default: settings.EndOldest, Options: []choice{
			{Value: settings.EndOldest, Label: "a sign-in ends the oldest (default)"}, {Value: settings.Reject, Label: "a sign-in is rejected"},
		}},
		{Name: "late_retry", Group: sessions, Label: "Retry after the retry window", Kind: pickField, Users: true, Options: []choice{
			{Value: "", Label: "as the limits say (default)"}, {Value: settings.LateRetryOnce, Label: "accepted once"}, {Value: settings.LateRetryNever, Label: "ends the session"},
		}, Hint: "An app that lost a response, and sends the used refresh token later."},
		{Name: "max_lifetime", Group: sessions, Label: "Back ends may extend a session to", Kind: textField, Users: true, Placeholder: "not at all", Hint: "From sign-in, such as 90d. At least the longest session."},
		{Name: "default_scopes", Group: tokens, Label: "Scopes if the app requests none", Kind: wordsField, None: "No scope at all", Placeholder: "all of its scopes", Hint: "Separated by spaces."},
		{Name: "access_token_typ", Group: tokens, Label: "Type of access tokens", Kind: pickField, Default: "at+jwt", Options: []choice{
			{Value: "at+jwt", Label: "at+jwt (default)"}, {Value: "JWT", Label: "JWT"},
		}, Hint: "JWT is for verifiers that insist on it."},
		{Name: "introspect", Group: tokens, Label: "Tokens that it may introspect", Kind: pickField, Default: settings.IntrospectAudience, Options: []choice{
			{Value: settings.IntrospectAudience, Label: "those that name it (default)"}, {Value: settings.IntrospectAll, Label: "every token of the tenant"},
		}, Hint: "Needs a secret."},
		{Name: "allow_public_session_token", Group: tokens, Label: "Allow a session token without a secret", Kind: flagField, Hint: "Whoever has the session token has the session, until it ends."},
		{Name: "disabled", Group: state, Label: "Disabled", Kind: flagField, Hint: "The client is rejected. Uncheck this to enable it."},
	}
}

// newClientFields returns the settings that the form for a new client has.
func newClientFields() (list []field) {
	all := clientFields()
	for _, name := range []string{"name", "preset", "audiences", "origins", "scopes"} {
		list = append(list, *named(all, name))
	}
	return list
}

// presets are the sets of limits, in the order of the form.
var presets = []struct{ name, label string }{
	{"", "Standard"}, {"consumer", "Consumer"}, {"mobile", "Mobile app"}, {"high_security", "High security"}, {"aal2", "NIST AAL2"}, {"aal3", "NIST AAL3"},
}

// limits says what the limits of sessions mean for a user.
func limits(p session.Policy) string {
	longest, idle := duration(p.AbsoluteTimeout), duration(p.IdleTimeout)
	switch {
	case p.IdleTimeout == session.NoIdleTimeout:
		return fmt.Sprintf("A user stays signed in for %s, however seldom they open the app.", longest)
	case p.IdleTimeout >= 7*24*time.Hour:
		return fmt.Sprintf("A user who opens the app once a week stays signed in for %s.", longest)
	case p.IdleTimeout >= 24*time.Hour:
		return fmt.Sprintf("A user who opens the app every day stays signed in for %s. After %s without it, they sign in again.", longest, idle)
	default:
		return fmt.Sprintf("A user is signed out after %s without use, and after %s in any case.", idle, longest)
	}
}

// duration returns a duration in words.
func duration(d time.Duration) string {
	if d < time.Minute || d%time.Minute != 0 {
		return settings.Duration(d).String()
	}
	if d == time.Hour {
		return "an hour"
	}
	n, unit := span(d)
	return plural(n, unit)
}

// clientPage reads a client for one of its tabs.
func (v *visit) clientPage(tab string) (*clientPage, error) {
	c, err := v.Admin.Client(v.ctx(), v.Caller, v.Tenant, v.param("client"))
	if err != nil {
		return nil, err
	}
	s, err := clientSettings(c)
	if err != nil {
		return nil, err
	}
	p := &clientPage{
		Client: c, Form: s, Name: s.Name, Tab: tab, Limits: limits(s.Policy()),
		Editable: v.May("patch-client") && c.Status.ManagedBy == nil, Previews: v.May("preview-client"),
	}
	p.Fields = inForm(shown(clientFields(), c.Settings), p.HasUsers(), p.Editable, v.owner())
	if p.Name == "" {
		p.Name = c.ID
	}
	if p.Document, err = newDocument(c.Settings, v.at("clients", c.ID, "document")); err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"absolute_lifetime": c.Status.Effective.AbsoluteLifetime, "inactivity_timeout": c.Status.Effective.InactivityTimeout,
		"access_token_ttl": c.Status.Effective.AccessTokenTTL, "refresh_grace": c.Status.Effective.RefreshGrace,
	} {
		if f := p.Field(name); f != nil {
			f.Placeholder = value
		}
	}
	return p, nil
}

func (v *visit) showClient() error {
	p, err := v.clientPage("settings")
	if err != nil {
		return err
	}
	return v.render("client", p.Name, p)
}

func (v *visit) saveClient() error {
	p, err := v.clientPage("settings")
	if err != nil {
		return err
	}
	fields, patch, err := changes(p.Fields, p.Settings, v.g.PostFormArray)
	if err != nil {
		return err
	}
	p.Fields, p.Version = fields, v.form("version") // another operator's change stays noticed
	if len(patch) == 0 {
		return v.redirect(v.at("clients", p.ID), "Nothing was changed.")
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	if _, err = v.Admin.PatchClient(v.ctx(), v.Caller, v.Tenant, p.ID, body, admin.IfVersion(v.form("version"))); err != nil {
		return v.renderProblem("client", p.Name, p, err)
	}
	return v.redirect(v.at("clients", p.ID), "Saved. Sessions that begin from now on have the new settings.")
}

// clientKinds are the starting points for a new client.
var clientKinds = []choice{
	{Value: "app", Label: "A web or mobile app", Hint: "It runs with its users, so it has no secret.", On: true},
	{Value: "backend", Label: "A back end with users", Hint: "A server that signs users in and keeps their tokens. It gets a secret."},
	{Value: "api", Label: "An API or a service", Hint: "It checks tokens, or calls other APIs as itself. It gets a secret."},
}

// newClientForm is the content of the form for a new client.
type newClientForm struct {
	ID, Name string
	Kinds    []choice
	Fields   []field
}

func (p *newClientForm) Field(name string) *field { return named(p.Fields, name) }

func (v *visit) newClient() error {
	return v.render("client-new", "New client", &newClientForm{Kinds: clientKinds, Fields: shown(newClientFields(), settings.Document{})})
}

func (v *visit) createClient() error {
	id, kind := v.form("id"), v.form("kind")
	p := &newClientForm{ID: id, Name: v.form("name")}
	for _, k := range clientKinds {
		k.On = k.Value == kind
		p.Kinds = append(p.Kinds, k)
	}
	body := map[string]any{"auth": settings.AuthSecret, "grants": []string{settings.GrantTokenExchange, settings.GrantRefresh}}
	switch kind {
	case "app":
		body["auth"] = settings.AuthNone
	case "api":
		body["grants"] = []string{settings.GrantClientCredentials}
	}
	for _, f := range newClientFields() {
		typed, value := f.typed(v.g.PostFormArray)
		p.Fields = append(p.Fields, typed)
		if value != nil {
			f.put(body, value)
		}
	}
	if id == "" {
		return v.renderProblem("client-new", "New client", p, &admin.Problem{Status: 400, Errors: []admin.Fault{{Pointer: "/id", Detail: "is missing"}}})
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	created, _, err := v.Admin.PutClient(v.ctx(), v.Caller, v.Tenant, id, text, admin.Precondition{IfNoneMatch: "*"})
	if problem := admin.ProblemOf(err); err != nil && problem.Status == 412 {
		err = &admin.Problem{Status: 409, Errors: []admin.Fault{{Pointer: "/id", Detail: "is the id of another client"}}}
	}
	if err != nil {
		return v.renderProblem("client-new", "New client", p, err)
	}
	if created.Secret == "" {
		return v.redirect(v.at("clients", id, "integrate"), "The client is ready. Here is how to use it.")
	}
	return v.render("client-secret", "The secret of "+id, &clientPage{Client: created, Name: id, Secret: &admin.NewSecret{Secret: created.Secret}})
}

func (v *visit) newSecretPage() error {
	p, err := v.clientPage("secret")
	if err != nil {
		return err
	}
	return v.render("client-new-secret", "New secret", p)
}

func (v *visit) newSecret() error {
	p, err := v.clientPage("secret")
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"previous_until": v.form("previous_until")})
	if err != nil {
		return err
	}
	if p.Secret, err = v.Admin.NewClientSecret(v.ctx(), v.Caller, v.Tenant, p.ID, body); err != nil {
		return v.renderProblem("client-new-secret", "New secret", p, err)
	}
	return v.render("client-secret", "The secret of "+p.ID, p)
}

func (v *visit) clientRef() models.Ref {
	return models.Ref{Kind: models.KindClient, Tenant: v.Tenant, ID: v.param("client")}
}

// suspendClient suspends a client at once.
func (v *visit) suspendClient() error {
	id := v.param("client")
	return v.suspend(v.clientRef(), confirmation{
		Heading: "Suspend the client " + id + "?", What: "the client's id", Back: v.at("clients", id),
		Text: []string{"The client is refused until an operator lifts the suspension. This also works if the server's file names the client."},
	}, "The client is suspended, and its sessions have ended.")
}

func (v *visit) resumeClient() error {
	if _, err := v.Admin.Resume(v.ctx(), v.Caller, v.clientRef(), nil); err != nil {
		return err
	}
	return v.redirect(v.at("clients", v.param("client")), "The suspension is lifted. New sessions can begin.")
}

func (v *visit) deleteClient() error {
	p, err := v.clientPage("delete")
	if err != nil {
		return err
	}
	ending, err := v.sessionsEnding(v.clientRef())
	if err != nil {
		return err
	}
	c := confirmation{
		Heading: "Delete the client " + p.ID + "?", What: "the client's id", Word: p.ID, Button: "Delete the client", Back: v.at("clients", p.ID),
		Text: []string{"This ends " + ending + ". Users have to sign in again.", "The client and its secret cannot be restored."},
	}
	if ok, err := v.confirmed(c, nil); !ok {
		return err
	}
	if err := v.Admin.DeleteClient(v.ctx(), v.Caller, v.Tenant, p.ID, admin.Precondition{}); err != nil {
		_, err = v.confirmed(c, err)
		return err
	}
	return v.redirect(v.at("clients"), "The client "+p.ID+" is deleted.")
}

// HasUsers reports whether the client exchanges tokens of users.
func (p *clientPage) HasUsers() bool { return p.Form.HasGrant(settings.GrantTokenExchange) }

// Plays reports whether the playground can use the client.
func (p *clientPage) Plays() bool { return plays(p.Form) }

// Confidential reports whether the client has a secret.
func (p *clientPage) Confidential() bool { return !p.Form.Public() }
