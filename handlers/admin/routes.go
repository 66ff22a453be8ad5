package admin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/latchkey/latchkey/models"
)

var tags = []*huma.Tag{
	{Name: "tenants", Description: "A tenant has its own issuer URL, signing keys, clients and users."},
	{Name: "clients", Description: "Applications that request tokens."},
	{Name: "trusted issuers", Description: "The issuers whose client tokens a tenant accepts."},
	{Name: "users", Description: "The users who have signed in or whom an operator has created, and their attributes."},
	{Name: "sessions", Description: "Search, change and end the sessions of users."},
	{Name: "signing keys", Description: "The keys that sign the tokens of a tenant."},
	{Name: "events", Description: "Events, audit and statistics."},
	{Name: "event destinations", Description: "Where the events of a tenant are delivered"},
	{Name: "admin keys", Description: "The keys of this API."},
	{Name: "configuration", Description: "Apply and export the whole configuration, and explain why a client token is rejected."},
}

// operation describes an operation. errors lists the statuses that do not follow from
// its path and its body: see describeResponses.
func operation(method, path, id, tag, summary string, errors ...int) huma.Operation {
	return huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{tag}, Errors: errors}
}

const (
	conflicts = http.StatusConflict
	stale     = http.StatusPreconditionFailed
)

func (a *api) routes() {
	a.tenantRoutes()
	a.clientRoutes()
	a.issuerRoutes()
	a.destinationRoutes()
	a.userRoutes()
	a.sessionRoutes()
	a.keyRoutes()
	a.eventRoutes()
	a.adminKeyRoutes()
	a.suspensionRoutes()
	a.explainRoute()
	a.configurationRoutes()
	a.clientTokenRoutes()
	a.statRoute()
	a.nodeRoute()
}

func (a *api) nodeRoute() {
	op := operation("GET", "/nodes", "list-nodes", "events", "List the running nodes of the deployment")
	op.Description = "Each node reports every 10 seconds. The key must be valid for all tenants."
	route(a, op, func(ctx context.Context, c *Caller, _ *empty) (*struct{ Body *Nodes }, error) {
		nodes, err := a.Nodes(ctx, c)
		return &struct{ Body *Nodes }{nodes}, err
	})
}

func (a *api) statRoute() {
	type query struct {
		Tenants []string `query:"tenant" maxItems:"100" doc:"Ids of tenants, separated by commas; default: all tenants of the key"`
	}
	op := operation("GET", "/stats", "get-stats", "events", "Count sessions, exchanges and refreshes", http.StatusNotFound)
	op.Description = "Each node writes its counts every 10 seconds."
	route(a, op, func(ctx context.Context, c *Caller, in *query) (*struct{ Body *Stats }, error) {
		stats, err := a.Stats(ctx, c, in.Tenants)
		return &struct{ Body *Stats }{stats}, err
	})
}

func (a *api) clientTokenRoutes() {
	mint := takes[clientTokenRequest](a, operation("POST", "/tenants/{tenant}/client-tokens", "mint-client-token", "users", "Mint a client token for a user whom you have signed in", conflicts), true, jsonType)
	mint.Description = "The token is valid for one minute and can be used once. The tenant needs a trusted issuer with keys.internal."
	route(a, mint, func(ctx context.Context, c *Caller, in *TenantPath) (*struct{ Body *MintedToken }, error) {
		token, err := a.MintClientToken(ctx, c, in.Tenant, bodyOf(ctx))
		return &struct{ Body *MintedToken }{token}, err
	})
	check := operation("POST", "/tenants/{tenant}/trusted-issuers/{issuer}/check", "check-trusted-issuer", "trusted issuers", "Fetch the metadata and the keys of a trusted issuer now")
	route(a, check, func(ctx context.Context, c *Caller, in *IssuerPath) (*struct{ Body *IssuerCheck }, error) {
		verdict, err := a.CheckIssuer(ctx, c, in.Tenant, in.Issuer)
		return &struct{ Body *IssuerCheck }{verdict}, err
	})
}

// clientTokenRequest describes the body of mint-client-token.
type clientTokenRequest struct {
	Sub      string         `json:"sub" doc:"The user, whom expressions of the trusted issuer read as token.sub"`
	AMR      []string       `json:"amr,omitempty" doc:"The methods by which the user signed in (RFC 8176)"`
	AuthTime int64          `json:"auth_time,omitempty" doc:"When the user signed in, in Unix seconds; default: now"`
	ACR      string         `json:"acr,omitempty" doc:"The class of assurance. It counts only if the trusted issuer may assert acr"`
	ClientID string         `json:"client_id,omitempty" doc:"The only client that may exchange the token; default: any client"`
	Claims   map[string]any `json:"claims,omitempty" doc:"Further claims, which expressions of the trusted issuer can read"`
}

func (a *api) configurationRoutes() {
	const tag = "configuration"
	type query struct {
		DryRun  bool `query:"dry_run" doc:"Change nothing, and report the difference"`
		Replace bool `query:"replace" doc:"Set the settings that the document leaves out to their defaults. Without it, they keep their stored values"`
		Prune   bool `query:"prune" doc:"Remove the tenants, clients and trusted issuers that the document does not name. Nothing outside the tenants of the key is removed"`
	}
	apply := takes[applyRequest](a, operation("POST", "/apply", "apply", tag, "Apply a configuration document", http.StatusNotFound, conflicts), true, jsonType, yamlType)
	apply.Description = "The document contains the sections tenants and revision of a configuration file. Settings that it leaves out keep their stored values."
	route(a, apply, func(ctx context.Context, c *Caller, in *query) (*struct{ Body *Applied }, error) {
		done, err := a.Apply(ctx, c, bodyOf(ctx), ApplyOptions{DryRun: in.DryRun, Replace: in.Replace, Prune: in.Prune, YAML: mediaTypeOf(ctx) == yamlType})
		return &struct{ Body *Applied }{done}, err
	})
	type export struct {
		Tenants        []string `query:"tenant" maxItems:"100" doc:"Ids of tenants, separated by commas; default: all tenants of the key"`
		Users          bool     `query:"users" doc:"Include the users whom a file or an operator has named, with the attributes that these have set"`
		ForNewDatabase bool     `query:"for_new_database" doc:"Name a file in place of each secret, because a new database does not have the secrets"`
		Accept         string   `header:"Accept" doc:"application/json (default) or application/yaml"`
	}
	exporting := operation("GET", "/export", "export", tag, "Export the configuration, without secrets", http.StatusNotFound)
	exporting.Description = "The response is a document that apply accepts. It contains no secrets; applying it keeps the stored secrets."
	exporting.Responses = map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
		jsonType: {Schema: &huma.Schema{Type: huma.TypeObject}}, yamlType: {Schema: &huma.Schema{Type: huma.TypeString}},
	}}}
	type document struct {
		ContentType string `header:"Content-Type"`
		Body        []byte
	}
	route(a, exporting, func(ctx context.Context, c *Caller, in *export) (*document, error) {
		yaml := strings.Contains(in.Accept, yamlType)
		text, err := a.Export(ctx, c, ExportOptions{Tenants: in.Tenants, Users: in.Users, ForNewDatabase: in.ForNewDatabase, YAML: yaml})
		kind := jsonType
		if yaml {
			kind = yamlType
		}
		return &document{kind, text}, err
	})
}

// applyRequest describes the body of apply.
type applyRequest struct {
	Tenants  []map[string]any `json:"tenants,omitempty" doc:"The section tenants of a configuration file: see docs/configuration.md"`
	Revision int64            `json:"revision,omitempty" doc:"The version of the document. From then on, the server does not apply a file with a lower revision"`
}

func (a *api) explainRoute() {
	op := takes[explainRequest](a, operation("POST", "/tenants/{tenant}/explain", "explain", "configuration", "Explain what an exchange of a client token would do"), true, jsonType)
	op.Description = "Runs the checks of the exchange and reports each result. The token is not used up, and nothing is written."
	route(a, op, func(ctx context.Context, c *Caller, in *TenantPath) (*struct{ Body *Explanation }, error) {
		e, err := a.Explain(ctx, c, in.Tenant, bodyOf(ctx))
		return &struct{ Body *Explanation }{e}, err
	})
}

// explainRequest describes the body of explain.
type explainRequest struct {
	ClientID         string `json:"client_id" doc:"The client that would exchange the token"`
	SubjectToken     string `json:"subject_token" doc:"The client token"`
	SubjectTokenType string `json:"subject_token_type,omitempty" doc:"jwt (default) or id_token"`
}

type ListOfTenant struct {
	TenantPath
	PageQuery
	Query string `query:"q" maxLength:"255" doc:"Only items whose id or name contains this"`
}

type TenantAnd struct {
	TenantPath
	Conditions
}

func (a *api) tenantRoutes() {
	const tag = "tenants"
	type list struct {
		PageQuery
		Query string `query:"q" maxLength:"63" doc:"Only tenants whose id contains this"`
	}
	route(a, operation("GET", "/tenants", "list-tenants", tag, "List tenants"), func(ctx context.Context, c *Caller, in *list) (*listAnswer[Tenant], error) {
		p, err := NewPage(in.Cursor, in.Limit, in.Query)
		if err != nil {
			return nil, err
		}
		l, err := a.Tenants(ctx, c, p)
		return &listAnswer[Tenant]{l}, err
	})
	route(a, operation("GET", "/tenants/{tenant}", "get-tenant", tag, "Get a tenant"), func(ctx context.Context, c *Caller, in *TenantPath) (*answer[Tenant], error) {
		t, err := a.Tenant(ctx, c, in.Tenant)
		if err != nil {
			return nil, err
		}
		return putAnswer(false, t.Version, *t), nil
	})
	put := takesSchema(operation("PUT", "/tenants/{tenant}", "put-tenant", tag, "Create a tenant or replace its settings", conflicts, stale), putSchema[tenantRequestSchema](a.OpenAPI().Components.Schemas), true, jsonType)
	route(a, put, func(ctx context.Context, c *Caller, in *TenantAnd) (*answer[Tenant], error) {
		t, created, err := a.PutTenant(ctx, c, in.Tenant, bodyOf(ctx), in.precondition())
		if err != nil {
			return nil, err
		}
		return putAnswer(created, t.Version, *t), nil
	})
	a.created("/tenants/{tenant}")
	change := takesSchema(operation("PATCH", "/tenants/{tenant}", "patch-tenant", tag, "Change some settings of a tenant", conflicts, stale), patchSchema[tenantRequestSchema](a.OpenAPI().Components.Schemas), true, patchType, jsonType)
	route(a, change, func(ctx context.Context, c *Caller, in *TenantAnd) (*answer[Tenant], error) {
		t, err := a.PatchTenant(ctx, c, in.Tenant, bodyOf(ctx), in.precondition())
		if err != nil {
			return nil, err
		}
		return putAnswer(false, t.Version, *t), nil
	})
	type remove struct {
		TenantAnd
		Confirm string `query:"confirm" required:"true" doc:"The id of the tenant, repeated. Everything in it is removed, and its id can never be used again"`
	}
	route(a, operation("DELETE", "/tenants/{tenant}", "delete-tenant", tag, "Remove a tenant and everything in it", conflicts, stale), func(ctx context.Context, c *Caller, in *remove) (*empty, error) {
		return nil, a.DeleteTenant(ctx, c, in.Tenant, in.Confirm, in.precondition())
	})
}

type ClientPath struct {
	TenantPath
	Client string `path:"client" maxLength:"64" doc:"The client_id"`
}

type clientAnd struct {
	ClientPath
	Conditions
}

func (a *api) clientRoutes() {
	const tag, at = "clients", "/tenants/{tenant}/clients"
	type list struct {
		ListOfTenant
		State string `query:"state" enum:"enabled,disabled,suspended" doc:"Only clients in this state"`
	}
	route(a, operation("GET", at, "list-clients", tag, "List the clients of a tenant"), func(ctx context.Context, c *Caller, in *list) (*listAnswer[Client], error) {
		p, err := NewPage(in.Cursor, in.Limit, in.Query)
		if err != nil {
			return nil, err
		}
		l, err := a.Clients(ctx, c, in.Tenant, models.ClientState(in.State), p)
		return &listAnswer[Client]{l}, err
	})
	route(a, operation("GET", at+"/{client}", "get-client", tag, "Get a client"), func(ctx context.Context, c *Caller, in *ClientPath) (*answer[Client], error) {
		client, err := a.Client(ctx, c, in.Tenant, in.Client)
		if err != nil {
			return nil, err
		}
		return putAnswer(false, client.Version, *client), nil
	})
	put := takesSchema(operation("PUT", at+"/{client}", "put-client", tag, "Create a client or replace its settings", conflicts, stale), putSchema[clientRequestSchema](a.OpenAPI().Components.Schemas), true, jsonType)
	put.Description = "Settings that the body leaves out get their defaults. A stored secret is kept, unless the body contains a new secret or null. For a new client with auth: secret whose body contains no secret, the server generates one; only this response contains it."
	route(a, put, func(ctx context.Context, c *Caller, in *clientAnd) (*answer[Client], error) {
		client, created, err := a.PutClient(ctx, c, in.Tenant, in.Client, bodyOf(ctx), in.precondition())
		if err != nil {
			return nil, err
		}
		return putAnswer(created, client.Version, *client), nil
	})
	a.created(at + "/{client}")
	change := takesSchema(operation("PATCH", at+"/{client}", "patch-client", tag, "Change some settings of a client", conflicts, stale), patchSchema[clientRequestSchema](a.OpenAPI().Components.Schemas), true, patchType, jsonType)
	change.Description = "The body is a merge patch (RFC 7396). A change of preset resets the settings that the preset determines, unless the patch contains them."
	route(a, change, func(ctx context.Context, c *Caller, in *clientAnd) (*answer[Client], error) {
		client, err := a.PatchClient(ctx, c, in.Tenant, in.Client, bodyOf(ctx), in.precondition())
		if err != nil {
			return nil, err
		}
		return putAnswer(false, client.Version, *client), nil
	})
	route(a, operation("DELETE", at+"/{client}", "delete-client", tag, "Remove a client and end its sessions", conflicts, stale), func(ctx context.Context, c *Caller, in *clientAnd) (*empty, error) {
		return nil, a.DeleteClient(ctx, c, in.Tenant, in.Client, in.precondition())
	})
	secret := takes[newSecretRequest](a, operation("POST", at+"/{client}/secret", "new-client-secret", tag, "Generate a new secret for a client", conflicts), false, jsonType)
	secret.Description = "Only this response contains the secret."
	route(a, secret, func(ctx context.Context, c *Caller, in *ClientPath) (*struct{ Body *NewSecret }, error) {
		made, err := a.NewClientSecret(ctx, c, in.Tenant, in.Client, bodyOf(ctx))
		return &struct{ Body *NewSecret }{made}, err
	})
	preview := takes[previewRequest](a, operation("POST", at+"/{client}/preview", "preview-client", tag, "Preview what a rule and claims of a client would do"), true, jsonType)
	preview.Description = "Compiles the expressions, and returns the access token that a user would get. Nothing is signed or written."
	route(a, preview, func(ctx context.Context, c *Caller, in *ClientPath) (*struct{ Body *Preview }, error) {
		p, err := a.PreviewClient(ctx, c, in.Tenant, in.Client, bodyOf(ctx))
		return &struct{ Body *Preview }{p}, err
	})
}

type IssuerPath struct {
	TenantPath
	Issuer string `path:"issuer" maxLength:"2048" doc:"The id of the entry"`
}

type issuerAnd struct {
	IssuerPath
	Conditions
}

func (a *api) issuerRoutes() {
	const tag, at = "trusted issuers", "/tenants/{tenant}/trusted-issuers"
	route(a, operation("GET", at, "list-trusted-issuers", tag, "List the trusted issuers of a tenant"), func(ctx context.Context, c *Caller, in *ListOfTenant) (*listAnswer[Issuer], error) {
		p, err := NewPage(in.Cursor, in.Limit, in.Query)
		if err != nil {
			return nil, err
		}
		l, err := a.Issuers(ctx, c, in.Tenant, p)
		return &listAnswer[Issuer]{l}, err
	})
	route(a, operation("GET", at+"/{issuer}", "get-trusted-issuer", tag, "Get a trusted issuer"), func(ctx context.Context, c *Caller, in *IssuerPath) (*answer[Issuer], error) {
		issuer, err := a.Issuer(ctx, c, in.Tenant, in.Issuer)
		if err != nil {
			return nil, err
		}
		return putAnswer(false, issuer.Version, *issuer), nil
	})
	put := takesSchema(operation("PUT", at+"/{issuer}", "put-trusted-issuer", tag, "Create a trusted issuer or replace its settings", conflicts, stale), putSchema[issuerRequestSchema](a.OpenAPI().Components.Schemas), true, jsonType)
	put.Description = "Settings that the body leaves out get their defaults. A stored shared secret is kept if keys is left out or empty."
	route(a, put, func(ctx context.Context, c *Caller, in *issuerAnd) (*answer[Issuer], error) {
		issuer, created, err := a.PutIssuer(ctx, c, in.Tenant, in.Issuer, bodyOf(ctx), in.precondition())
		if err != nil {
			return nil, err
		}
		return putAnswer(created, issuer.Version, *issuer), nil
	})
	a.created(at + "/{issuer}")
	change := takesSchema(operation("PATCH", at+"/{issuer}", "patch-trusted-issuer", tag, "Change some settings of a trusted issuer", conflicts, stale), patchSchema[issuerRequestSchema](a.OpenAPI().Components.Schemas), true, patchType, jsonType)
	change.Description = "The body is a merge patch (RFC 7396)."
	route(a, change, func(ctx context.Context, c *Caller, in *issuerAnd) (*answer[Issuer], error) {
		issuer, err := a.PatchIssuer(ctx, c, in.Tenant, in.Issuer, bodyOf(ctx), in.precondition())
		if err != nil {
			return nil, err
		}
		return putAnswer(false, issuer.Version, *issuer), nil
	})
	route(a, operation("DELETE", at+"/{issuer}", "delete-trusted-issuer", tag, "Remove a trusted issuer and end its sessions", conflicts, stale), func(ctx context.Context, c *Caller, in *issuerAnd) (*empty, error) {
		return nil, a.DeleteIssuer(ctx, c, in.Tenant, in.Issuer, in.precondition())
	})
}

type UserPath struct {
	TenantPath
	Sub string `path:"sub" maxLength:"1024" doc:"The user's sub, percent-encoded"`
}

type userAnd struct {
	UserPath
	Conditions
}

func (a *api) userRoutes() {
	const tag, at = "users", "/tenants/{tenant}/users"
	type list struct {
		TenantPath
		PageQuery
		Query     string `query:"q" maxLength:"255" doc:"Only users whose sub begins with this"`
		Issuer    string `query:"issuer" maxLength:"2048" doc:"Only users whom this trusted issuer can sign in: its id or its URL"`
		Attribute string `query:"attribute" maxLength:"4160" doc:"The name and the exact value of one of the tenant's searchable_attributes, as in email:ada@example.com. A number or a boolean is written as JSON; lists and objects are not found"`
	}
	route(a, operation("GET", at, "list-users", tag, "List the users of a tenant", conflicts), func(ctx context.Context, c *Caller, in *list) (*listAnswer[ListedUser], error) {
		p, err := NewPage(in.Cursor, in.Limit, in.Query)
		if err != nil {
			return nil, err
		}
		l, err := a.Users(ctx, c, in.Tenant, in.Issuer, in.Attribute, p)
		return &listAnswer[ListedUser]{l}, err
	})
	route(a, operation("GET", at+"/{sub}", "get-user", tag, "Get a user"), func(ctx context.Context, c *Caller, in *UserPath) (*answer[User], error) {
		u, err := a.User(ctx, c, in.Tenant, in.Sub)
		if err != nil {
			return nil, err
		}
		return putAnswer(false, u.Version, *u), nil
	})
	put := takes[userRequest](a, operation("PUT", at+"/{sub}", "put-user", tag, "Create a user or replace their attributes", conflicts, stale), true, jsonType)
	put.Description = "Replaces the attributes that operators set. Attributes that trusted issuers and the server's file set are kept."
	route(a, put, func(ctx context.Context, c *Caller, in *userAnd) (*answer[User], error) {
		u, created, err := a.PutUser(ctx, c, in.Tenant, in.Sub, bodyOf(ctx), in.precondition())
		if err != nil {
			return nil, err
		}
		return putAnswer(created, u.Version, *u), nil
	})
	a.created(at + "/{sub}")
	change := takes[userRequest](a, operation("PATCH", at+"/{sub}", "patch-user", tag, "Change some attributes of a user", conflicts, stale), true, patchType, jsonType)
	change.Description = "The body is a merge patch (RFC 7396): null removes an attribute."
	route(a, change, func(ctx context.Context, c *Caller, in *userAnd) (*answer[User], error) {
		u, err := a.PatchUser(ctx, c, in.Tenant, in.Sub, bodyOf(ctx), in.precondition())
		if err != nil {
			return nil, err
		}
		return putAnswer(false, u.Version, *u), nil
	})
	route(a, operation("DELETE", at+"/{sub}", "delete-user", tag, "Delete a user and their personal data", conflicts), func(ctx context.Context, c *Caller, in *UserPath) (*struct{ Body *DeletedUser }, error) {
		done, err := a.DeleteUser(ctx, c, in.Tenant, in.Sub)
		return &struct{ Body *DeletedUser }{done}, err
	})
	route(a, operation("DELETE", at+"/{sub}/sessions", "end-user-sessions", tag, "Sign a user out everywhere"), func(ctx context.Context, c *Caller, in *UserPath) (*struct{ Body *Ended }, error) {
		done, err := a.EndUserSessions(ctx, c, in.Tenant, in.Sub)
		return &struct{ Body *Ended }{done}, err
	})
}

type SessionQuery struct {
	User          string    `query:"user" maxLength:"1024" doc:"The user's sub"`
	Client        string    `query:"client" maxLength:"64" doc:"The client_id"`
	Issuer        string    `query:"issuer" maxLength:"63" doc:"The id of the trusted issuer that signed the user in"`
	State         string    `query:"state" enum:"active,ended" doc:"Only active or only ended sessions. A session of a disabled client or trusted issuer counts as active until the server has ended it"`
	IP            string    `query:"ip" maxLength:"45" doc:"The address of the last activity"`
	CreatedAfter  time.Time `query:"created_after" doc:"Created at this time or later"`
	CreatedBefore time.Time `query:"created_before" doc:"Created before this time"`
	ActiveAfter   time.Time `query:"active_after" doc:"Last active at this time or later"`
	ActiveBefore  time.Time `query:"active_before" doc:"Last active before this time"`
}

func (q SessionQuery) search() SessionSearch {
	return SessionSearch{User: q.User, Client: q.Client, Issuer: q.Issuer, State: q.State, IP: q.IP,
		CreatedAfter: q.CreatedAfter, CreatedBefore: q.CreatedBefore, ActiveAfter: q.ActiveAfter, ActiveBefore: q.ActiveBefore}
}

type SessionPath struct {
	TenantPath
	SID string `path:"sid" maxLength:"64" doc:"The id of the session"`
}

func (a *api) sessionRoutes() {
	const tag, at = "sessions", "/tenants/{tenant}/sessions"
	type list struct {
		TenantPath
		SessionQuery
		PageQuery
	}
	op := operation("GET", at, "list-sessions", tag, "Search sessions, the newest first")
	op.Description = "A page reads at most 10,000 sessions. It may have fewer items than the limit, or none, and still have a next_cursor."
	route(a, op, func(ctx context.Context, c *Caller, in *list) (*listAnswer[Session], error) {
		q := in.search()
		q.Cursor, q.Limit = in.Cursor, in.Limit
		l, err := a.Sessions(ctx, c, in.Tenant, q)
		return &listAnswer[Session]{l}, err
	})
	type export struct {
		TenantPath
		SessionQuery
	}
	exporting := operation("GET", at+"/export", "export-sessions", tag, "Export sessions as JSON lines")
	exporting.Description = "Streams every session that matches, one JSON object per line (application/jsonl). If the export fails, the server closes the connection without ending the response."
	route(a, streams(exporting, "application/jsonl", "One session per line"), func(ctx context.Context, c *Caller, in *export) (*huma.StreamResponse, error) {
		q := in.search()
		if err := a.MayExport(ctx, c, in.Tenant, q); err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(h huma.Context) { a.stream(h, c, in.Tenant, q) }}, nil
	})
	type end struct {
		TenantPath
		User    string `query:"user" maxLength:"1024" doc:"The user's sub"`
		Client  string `query:"client" maxLength:"64" doc:"The client_id"`
		Confirm int    `query:"confirm" required:"true" minimum:"0" maximum:"100000" doc:"The maximum number of sessions to end. If there are more, none ends, and the error reports the number"`
	}
	route(a, operation("DELETE", at, "end-sessions", tag, "End the sessions of a user, a client, or a user at a client", conflicts), func(ctx context.Context, c *Caller, in *end) (*struct{ Body *Ended }, error) {
		done, err := a.EndSessions(ctx, c, in.Tenant, in.User, in.Client, in.Confirm)
		return &struct{ Body *Ended }{done}, err
	})
	route(a, operation("GET", at+"/{sid}", "get-session", tag, "Get a session with its events and claims"), func(ctx context.Context, c *Caller, in *SessionPath) (*struct{ Body *Session }, error) {
		s, err := a.Session(ctx, c, in.Tenant, in.SID)
		return &struct{ Body *Session }{s}, err
	})
	route(a, operation("DELETE", at+"/{sid}", "end-session", tag, "End a session"), func(ctx context.Context, c *Caller, in *SessionPath) (*empty, error) {
		return nil, a.EndSession(ctx, c, in.Tenant, in.SID)
	})
	change := takes[sessionRequest](a, operation("PATCH", at+"/{sid}", "patch-session", tag, "Change session attributes", conflicts), true, patchType, jsonType)
	route(a, change, func(ctx context.Context, c *Caller, in *SessionPath) (*struct{ Body *Session }, error) {
		s, err := a.PatchSession(ctx, c, in.Tenant, in.SID, bodyOf(ctx))
		return &struct{ Body *Session }{s}, err
	})
	extend := takes[extensionRequest](a, operation("POST", at+"/{sid}/extend", "extend-session", tag, "Change the absolute end of a session", conflicts), true, jsonType)
	route(a, extend, func(ctx context.Context, c *Caller, in *SessionPath) (*struct{ Body *Session }, error) {
		s, err := a.ExtendSession(ctx, c, in.Tenant, in.SID, bodyOf(ctx))
		return &struct{ Body *Session }{s}, err
	})
}

func (a *api) keyRoutes() {
	const tag, at = "signing keys", "/tenants/{tenant}/keys"
	route(a, operation("GET", at, "list-signing-keys", tag, "List the signing keys of a tenant"), func(ctx context.Context, c *Caller, in *TenantPath) (*struct{ Body *SigningKeys }, error) {
		keys, err := a.SigningKeys(ctx, c, in.Tenant)
		return &struct{ Body *SigningKeys }{keys}, err
	})
	route(a, operation("POST", at+"/rotate", "rotate-signing-key", tag, "Announce a new signing key", conflicts), func(ctx context.Context, c *Caller, in *TenantPath) (*struct{ Body *SigningKey }, error) {
		key, err := a.RotateKey(ctx, c, in.Tenant)
		return &struct{ Body *SigningKey }{key}, err
	})
	type one struct {
		TenantPath
		Kid string `path:"kid" maxLength:"64" doc:"The kid of the key"`
	}
	route(a, operation("POST", at+"/{kid}/retire", "retire-signing-key", tag, "Take a signing key out of service at once"), func(ctx context.Context, c *Caller, in *one) (*struct{ Body *RetiredKey }, error) {
		key, err := a.RetireKey(ctx, c, in.Tenant, in.Kid)
		return &struct{ Body *RetiredKey }{key}, err
	})
}

type EventQuery struct {
	Types   []string  `query:"type" maxItems:"20" doc:"Types, separated by commas. A type that ends in a dot matches every type that begins with it"`
	User    string    `query:"user" maxLength:"1024" doc:"The user's sub"`
	Client  string    `query:"client" maxLength:"64" doc:"The client_id"`
	Session string    `query:"session" maxLength:"64" doc:"The id of a session"`
	After   time.Time `query:"after" doc:"At this time or later"`
	Before  time.Time `query:"before" doc:"Before this time"`
}

func (q EventQuery) search() EventSearch {
	return EventSearch{Types: q.Types, User: q.User, Client: q.Client, Session: q.Session, After: q.After, Before: q.Before}
}

func (a *api) eventRoutes() {
	const tag = "events"
	type list struct {
		TenantPath
		EventQuery
		PageQuery
	}
	route(a, operation("GET", "/tenants/{tenant}/events", "list-events", tag, "List the events of a tenant, the newest first"), func(ctx context.Context, c *Caller, in *list) (*listAnswer[Event], error) {
		q := in.search()
		q.Cursor, q.Limit = in.Cursor, in.Limit
		l, err := a.Events(ctx, c, in.Tenant, q)
		return &listAnswer[Event]{l}, err
	})
	type follow struct {
		TenantPath
		EventQuery
		Last string `header:"Last-Event-ID" maxLength:"64" doc:"The id of the last event that you received; default: only new events"`
	}
	following := operation("GET", "/tenants/{tenant}/events/stream", "follow-events", tag, "Follow the events of a tenant")
	following.Description = "Streams server-sent events (text/event-stream). Each has an id, and an event as JSON in data. If there are no events, the server sends comments. An admin key has at most 16 open streams on a server."
	route(a, streams(following, "text/event-stream", "Events, until the client closes the connection or the admin key is revoked"), func(ctx context.Context, c *Caller, in *follow) (*huma.StreamResponse, error) {
		from, err := a.beforeFollowing(ctx, c, in.Tenant, in.search(), in.Last)
		if err != nil {
			return nil, err
		}
		end, err := a.streams.open(c.Key.ID)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(h huma.Context) {
			defer end()
			a.follow(h, c, from)
		}}, nil
	})
	type all struct {
		EventQuery
		PageQuery
	}
	route(a, operation("GET", "/events", "list-deployment-events", tag, "List the events that belong to no tenant, such as those of admin keys"), func(ctx context.Context, c *Caller, in *all) (*listAnswer[Event], error) {
		q := in.search()
		q.Cursor, q.Limit = in.Cursor, in.Limit
		l, err := a.Events(ctx, c, "", q)
		return &listAnswer[Event]{l}, err
	})
}

func (a *api) adminKeyRoutes() {
	const tag = "admin keys"
	route(a, operation("GET", "/self", "get-self", tag, "Get the admin key of the request"), func(_ context.Context, c *Caller, _ *empty) (*struct{ Body AdminKey }, error) {
		return &struct{ Body AdminKey }{a.Self(c)}, nil
	})
	route(a, operation("GET", "/admin-keys", "list-admin-keys", tag, "List admin keys"), func(ctx context.Context, c *Caller, in *PageQuery) (*listAnswer[AdminKey], error) {
		p, err := NewPage(in.Cursor, in.Limit, "")
		if err != nil {
			return nil, err
		}
		l, err := a.AdminKeys(ctx, c, p)
		return &listAnswer[AdminKey]{l}, err
	})
	create := takes[adminKeyRequest](a, operation("POST", "/admin-keys", "create-admin-key", tag, "Create an admin key"), true, jsonType)
	create.DefaultStatus = http.StatusCreated
	create.Description = "Only this response contains the key."
	route(a, create, func(ctx context.Context, c *Caller, _ *empty) (*struct{ Body *AdminKey }, error) {
		key, err := a.CreateAdminKey(ctx, c, bodyOf(ctx))
		return &struct{ Body *AdminKey }{key}, err
	})
	type revoke struct {
		ID          string `path:"id" maxLength:"64" doc:"The id of the admin key"`
		Descendants bool   `query:"descendants" doc:"Also revoke every key that was created with it, directly or through another key"`
	}
	route(a, operation("DELETE", "/admin-keys/{id}", "revoke-admin-key", tag, "Revoke an admin key", conflicts), func(ctx context.Context, c *Caller, in *revoke) (*struct{ Body *RevokedKeys }, error) {
		done, err := a.RevokeAdminKey(ctx, c, in.ID, in.Descendants)
		return &struct{ Body *RevokedKeys }{done}, err
	})
}

func (a *api) suspensionRoutes() {
	suspension[TenantPath](a, "tenants", "/tenants/{tenant}", "tenant")
	suspension[ClientPath](a, "clients", "/tenants/{tenant}/clients/{client}", "client")
	suspension[IssuerPath](a, "trusted issuers", "/tenants/{tenant}/trusted-issuers/{issuer}", "trusted-issuer")
	suspension[UserPath](a, "users", "/tenants/{tenant}/users/{sub}", "user")
	type list struct {
		PageQuery
		Tenant string `query:"tenant" maxLength:"63" doc:"Only suspensions in this tenant, which need not exist; default: in all tenants of the key"`
	}
	op := operation("GET", "/suspensions", "list-suspensions", "configuration", "List what is suspended, the oldest suspension first", http.StatusNotFound)
	route(a, op, func(ctx context.Context, c *Caller, in *list) (*listAnswer[ListedSuspension], error) {
		l, err := a.Suspensions(ctx, c, in.Tenant, in.Cursor, in.Limit)
		return &listAnswer[ListedSuspension]{l}, err
	})
}

func (p TenantPath) ref() models.Ref {
	return models.Ref{Kind: models.KindTenant, Tenant: p.Tenant, ID: p.Tenant}
}
func (p ClientPath) ref() models.Ref {
	return models.Ref{Kind: models.KindClient, Tenant: p.Tenant, ID: p.Client}
}
func (p IssuerPath) ref() models.Ref {
	return models.Ref{Kind: models.KindIssuer, Tenant: p.Tenant, ID: p.Issuer}
}
func (p UserPath) ref() models.Ref {
	return models.Ref{Kind: models.KindUser, Tenant: p.Tenant, ID: p.Sub}
}

// suspension adds the operations that suspend and resume the resource of a path.
func suspension[P interface{ ref() models.Ref }](a *api, tag, at, name string) {
	words := strings.ReplaceAll(name, "-", " ")
	off := takes[suspendRequest](a, operation("POST", at+"/suspend", "suspend-"+name, tag, "Suspend a "+words), false, jsonType)
	off.Description = "Disables the " + words + " at once, regardless of its settings, and ends its sessions. A " + words + " that does not exist yet is suspended when it is created."
	if name == "trusted-issuer" {
		off.Description += " In place of the id, you may send the percent-encoded URL of an issuer: it suspends every entry with this URL."
	}
	route(a, off, func(ctx context.Context, c *Caller, in *P) (*struct{ Body *Suspension }, error) {
		s, err := a.Suspend(ctx, c, (*in).ref(), bodyOf(ctx))
		return &struct{ Body *Suspension }{s}, err
	})
	on := takes[resumeRequest](a, operation("POST", at+"/resume", "resume-"+name, tag, "Lift the suspension of a "+words, conflicts), false, jsonType)
	on.Description = "Sessions that ended because of the suspension remain ended."
	route(a, on, func(ctx context.Context, c *Caller, in *P) (*struct{ Body *Suspension }, error) {
		s, err := a.Resume(ctx, c, (*in).ref(), bodyOf(ctx))
		return &struct{ Body *Suspension }{s}, err
	})
}

// newSecretRequest describes the body of new-client-secret.
type newSecretRequest struct {
	PreviousUntil string `json:"previous_until,omitempty" doc:"When the previous secret expires: a time, or a duration from now. Default 7d; 0s: at once"`
}

// previewRequest describes the body of preview-client.
type previewRequest struct {
	Allow  string            `json:"allow,omitempty" doc:"The rule; default: the stored one"`
	Claims map[string]string `json:"claims,omitempty" doc:"The claims with their expressions; default: the stored ones"`
	Sub    string            `json:"sub" doc:"The user whose access token is previewed"`
	AMR    []string          `json:"amr,omitempty" doc:"The methods by which the user would sign in (RFC 8176)"`
}

// userRequest describes the body of put-user and patch-user.
type userRequest struct {
	Sub        string         `json:"sub,omitempty" doc:"The user's sub. Optional; it must be the same as in the path"`
	Attributes map[string]any `json:"attributes,omitempty" doc:"The attributes, which expressions read as user.NAME. At most 4 KiB each, as JSON"`
	Disabled   bool           `json:"disabled,omitempty" doc:"The user cannot sign in, and their sessions end"`
	Status     any            `json:"status,omitempty" doc:"Ignored"`
}

// sessionRequest describes the body of patch-session.
type sessionRequest struct {
	Attributes map[string]any `json:"attributes" doc:"Session attributes to set; null removes one"`
}

// extensionRequest describes the body of extend-session.
type extensionRequest struct {
	ExpiresIn string `json:"expires_in" doc:"How long the session lasts from now on, such as 24h"`
}

// adminKeyRequest describes the body of create-admin-key.
type adminKeyRequest struct {
	Name      string   `json:"name" doc:"Who or what uses the key" minLength:"1" maxLength:"64"`
	Role      string   `json:"role" enum:"owner,admin,support,viewer" doc:"What the key may do"`
	Tenants   []string `json:"tenants,omitempty" doc:"The tenants that it is valid for; default: all"`
	ExpiresAt string   `json:"expires_at,omitempty" doc:"When it expires: a time, or a duration from now. It must not be later than the expiry of the key that creates it"`
}

// suspendRequest describes the body of a suspension.
type suspendRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"255" doc:"Why, for other operators to read"`
	DryRun bool   `json:"dry_run,omitempty" doc:"Change nothing, and report how many sessions would end"`
}

// resumeRequest describes the body of the end of a suspension.
type resumeRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"255" doc:"Why, for other operators to read"`
}

type DestinationPath struct {
	TenantPath
	Destination string `path:"destination" maxLength:"2048" doc:"The id of the event destination"`
}

type destinationAnd struct {
	DestinationPath
	Conditions
}

func (a *api) destinationRoutes() {
	const tag, at = "event destinations", "/tenants/{tenant}/event-destinations"
	route(a, operation("GET", at, "list-event-destinations", tag, "List the event destinations of a tenant"), func(ctx context.Context, c *Caller, in *ListOfTenant) (*listAnswer[Destination], error) {
		p, err := NewPage(in.Cursor, in.Limit, in.Query)
		if err != nil {
			return nil, err
		}
		l, err := a.Destinations(ctx, c, in.Tenant, p)
		return &listAnswer[Destination]{l}, err
	})
	route(a, operation("GET", at+"/{destination}", "get-event-destination", tag, "Get an event destination"), func(ctx context.Context, c *Caller, in *DestinationPath) (*answer[Destination], error) {
		d, err := a.Destination(ctx, c, in.Tenant, in.Destination)
		if err != nil {
			return nil, err
		}
		return putAnswer(false, d.Version, *d), nil
	})
	put := takesSchema(operation("PUT", at+"/{destination}", "put-event-destination", tag, "Create an event destination or replace its settings", conflicts, stale), putSchema[destinationRequestSchema](a.OpenAPI().Components.Schemas), true, jsonType)
	put.Description = "Settings that the body leaves out get their defaults. A stored secret is kept, unless the body contains a new secret or null. For a webhook that has no secret, the server generates one; only this response contains it."
	route(a, put, func(ctx context.Context, c *Caller, in *destinationAnd) (*answer[Destination], error) {
		d, created, err := a.PutDestination(ctx, c, in.Tenant, in.Destination, bodyOf(ctx), in.precondition())
		if err != nil {
			return nil, err
		}
		return putAnswer(created, d.Version, *d), nil
	})
	a.created(at + "/{destination}")
	change := takesSchema(operation("PATCH", at+"/{destination}", "patch-event-destination", tag, "Change some settings of an event destination", conflicts, stale), patchSchema[destinationRequestSchema](a.OpenAPI().Components.Schemas), true, patchType, jsonType)
	change.Description = "The body is a merge patch (RFC 7396)."
	route(a, change, func(ctx context.Context, c *Caller, in *destinationAnd) (*answer[Destination], error) {
		d, err := a.PatchDestination(ctx, c, in.Tenant, in.Destination, bodyOf(ctx), in.precondition())
		if err != nil {
			return nil, err
		}
		return putAnswer(false, d.Version, *d), nil
	})
	route(a, operation("DELETE", at+"/{destination}", "delete-event-destination", tag, "Remove an event destination and what waits for it", conflicts, stale), func(ctx context.Context, c *Caller, in *destinationAnd) (*empty, error) {
		return nil, a.DeleteDestination(ctx, c, in.Tenant, in.Destination, in.precondition())
	})
	secret := takes[newSecretRequest](a, operation("POST", at+"/{destination}/secret", "new-event-destination-secret", tag, "Generate a new secret for a webhook", conflicts), false, jsonType)
	secret.Description = "Only this response contains the secret. Until the previous secret expires, by default for a day, webhooks have a signature by each of the two."
	route(a, secret, func(ctx context.Context, c *Caller, in *DestinationPath) (*struct{ Body *NewSecret }, error) {
		made, err := a.NewDestinationSecret(ctx, c, in.Tenant, in.Destination, bodyOf(ctx))
		return &struct{ Body *NewSecret }{made}, err
	})
	enable := operation("POST", at+"/{destination}/enable", "enable-event-destination", tag, "Deliver again to a destination whose receiver answered 410")
	enable.Description = "The events in between are delivered, too."
	route(a, enable, func(ctx context.Context, c *Caller, in *DestinationPath) (*answer[Destination], error) {
		d, err := a.EnableDestination(ctx, c, in.Tenant, in.Destination)
		if err != nil {
			return nil, err
		}
		return putAnswer(false, d.Version, *d), nil
	})
	test := operation("POST", at+"/{destination}/test", "test-event-destination", tag, "Send a test event and report the answer", conflicts)
	test.Description = "The type of the event is destination.verification. The response has status 200 even if the receiver refuses the event: see state and error."
	route(a, test, func(ctx context.Context, c *Caller, in *DestinationPath) (*struct{ Body *Delivery }, error) {
		d, err := a.TestDestination(ctx, c, in.Tenant, in.Destination)
		return &struct{ Body *Delivery }{d}, err
	})
	type deliveries struct {
		DestinationPath
		PageQuery
		State string `query:"state" enum:"recent,waiting,dead" default:"recent" doc:"recent: the last 50 attempts, newest first; waiting: events that failed and will be attempted again; dead: events that were given up"`
	}
	route(a, operation("GET", at+"/{destination}/deliveries", "list-deliveries", tag, "List the deliveries of an event destination"), func(ctx context.Context, c *Caller, in *deliveries) (*listAnswer[Delivery], error) {
		l, err := a.Deliveries(ctx, c, in.Tenant, in.Destination, in.State, in.Cursor, in.Limit)
		return &listAnswer[Delivery]{l}, err
	})
	type redeliver struct {
		DestinationPath
		Since time.Time `query:"since" doc:"Deliver again what happened at this time or later. Left out: what was given up"`
	}
	again := operation("POST", at+"/{destination}/redeliver", "redeliver", tag, "Deliver events again")
	again.Description = "Repeated events have the same webhook-id or jti. The log keeps events for 90 days by default."
	route(a, again, func(ctx context.Context, c *Caller, in *redeliver) (*struct{ Body *Redelivered }, error) {
		done, err := a.Redeliver(ctx, c, in.Tenant, in.Destination, in.Since)
		return &struct{ Body *Redelivered }{done}, err
	})
}
