package console

import (
	"net/http"
	"slices"
)

// route is a page, or the target of a form.
type route struct {
	method    string
	path      string // below /console
	operation string // the operation of the admin API that the role must include; empty: any role
	serve     func(*visit) error
	dev       bool // in development only
}

// page adds a page to routes.
func page(path, operation string, serve func(*visit) error) route {
	return route{method: http.MethodGet, path: path, operation: operation, serve: serve}
}

// form adds the target of a form to routes.
func form(path, operation string, serve func(*visit) error) route {
	return route{method: http.MethodPost, path: path, operation: operation, serve: serve}
}

// routes lists the pages.
var routes = slices.Concat(
	[]route{
		page("/tenants", "list-tenants", (*visit).tenants),
		page("/t/:tenant", "get-tenant", (*visit).tenantHome),
		page("/t/:tenant/overview", "get-stats", (*visit).overview),

		page("/t/:tenant/sessions", "list-sessions", (*visit).sessions),
		page("/t/:tenant/sessions/end", "end-sessions", (*visit).endSessions),
		form("/t/:tenant/sessions/end", "end-sessions", (*visit).endSessions),
		form("/t/:tenant/sessions/export", "export-sessions", (*visit).exportSessions),
		page("/t/:tenant/sessions/:sid", "get-session", (*visit).showSession),
		page("/t/:tenant/sessions/:sid/end", "end-session", (*visit).endSession),
		form("/t/:tenant/sessions/:sid/end", "end-session", (*visit).endSession),

		page("/t/:tenant/users", "list-users", (*visit).users),
		page("/t/:tenant/users/show", "get-user", (*visit).showUser),
		form("/t/:tenant/users/show", "patch-user", (*visit).patchUser),
		page("/t/:tenant/users/sign-out", "end-user-sessions", (*visit).signOutUser),
		form("/t/:tenant/users/sign-out", "end-user-sessions", (*visit).signOutUser),
		page("/t/:tenant/users/disable", "patch-user", (*visit).disableUser),
		form("/t/:tenant/users/disable", "patch-user", (*visit).disableUser),
		page("/t/:tenant/users/suspend", "suspend-user", (*visit).suspendUser),
		form("/t/:tenant/users/suspend", "suspend-user", (*visit).suspendUser),
		form("/t/:tenant/users/resume", "resume-user", (*visit).resumeUser),
		page("/t/:tenant/users/delete", "delete-user", (*visit).deleteUser),
		form("/t/:tenant/users/delete", "delete-user", (*visit).deleteUser),

		page("/t/:tenant/events", "list-events", (*visit).events),
		page("/t/:tenant/events/stream", "follow-events", (*visit).followEvents),
		page("/t/:tenant/destinations", "list-event-destinations", (*visit).destinations),
		page("/t/:tenant/new-destination", "put-event-destination", (*visit).editDestination),
		form("/t/:tenant/new-destination", "put-event-destination", (*visit).saveDestination),
		page("/t/:tenant/destinations/:destination", "get-event-destination", (*visit).showDestination),
		form("/t/:tenant/destinations/:destination", "test-event-destination", (*visit).changeDestination),
		page("/t/:tenant/destinations/:destination/edit", "patch-event-destination", (*visit).editDestination),
		form("/t/:tenant/destinations/:destination/edit", "patch-event-destination", (*visit).saveDestination),
		page("/t/:tenant/destinations/:destination/delete", "delete-event-destination", (*visit).deleteDestination),
		form("/t/:tenant/destinations/:destination/delete", "delete-event-destination", (*visit).deleteDestination),

		page("/t/:tenant/keys", "list-signing-keys", (*visit).keys),
		form("/t/:tenant/keys", "rotate-signing-key", (*visit).rotateKey),
		page("/t/:tenant/keys/:kid/retire", "retire-signing-key", (*visit).retireKey),
		form("/t/:tenant/keys/:kid/retire", "retire-signing-key", (*visit).retireKey),

		page("/t/:tenant/settings", "get-tenant", (*visit).settings),
		form("/t/:tenant/settings", "patch-tenant", (*visit).saveSettings),
		form("/t/:tenant/settings/document", "put-tenant", (*visit).saveTenantDocument),
		page("/t/:tenant/settings/suspend", "suspend-tenant", (*visit).suspendTenant),
		form("/t/:tenant/settings/suspend", "suspend-tenant", (*visit).suspendTenant),
		form("/t/:tenant/settings/resume", "resume-tenant", (*visit).resumeTenant),
		page("/t/:tenant/settings/delete", "delete-tenant", (*visit).deleteTenant),
		form("/t/:tenant/settings/delete", "delete-tenant", (*visit).deleteTenant),
		page("/t/:tenant/settings/export", "export", (*visit).exportPage),
		form("/t/:tenant/settings/export", "export", (*visit).downloadExport),
		page("/t/:tenant/settings/admin-keys", "list-admin-keys", (*visit).adminKeys),
		form("/t/:tenant/settings/admin-keys", "create-admin-key", (*visit).createAdminKey),
		page("/t/:tenant/settings/admin-keys/:id", "revoke-admin-key", (*visit).revokeAdminKey),
		form("/t/:tenant/settings/admin-keys/:id", "revoke-admin-key", (*visit).revokeAdminKey),

		{method: http.MethodGet, path: "/components", serve: (*visit).components, dev: true},
	},
	clientRoutes(), issuerRoutes(), playgroundRoutes(),
)

// hasRoute reports whether a page has the path.
func hasRoute(path string) bool {
	return slices.ContainsFunc(routes, func(r route) bool { return r.path == path && r.method == http.MethodGet })
}

// components shows every component of the visual language.
func (v *visit) components() error { return v.render("components", "Components", nil) }
