package console

import "net/http"

// route is a page, or the target of a form.
type route struct {
	method    string
	path      string // below /console
	operation string // the operation of the admin API that the role must include; empty: any role
	serve     func(*visit) error
	dev       bool // in development only
}

// routes lists the pages. init fills it, because the pages refer to it themselves.
var routes []route

// page adds a page to routes.
func page(path, operation string, serve func(*visit) error) route {
	return route{method: http.MethodGet, path: path, operation: operation, serve: serve}
}

// form adds the target of a form to routes.
func form(path, operation string, serve func(*visit) error) route {
	return route{method: http.MethodPost, path: path, operation: operation, serve: serve}
}

func init() {
	routes = []route{
		page("/tenants", "list-tenants", (*visit).tenants),
		page("/t/:tenant", "get-tenant", (*visit).tenantHome),

		{method: http.MethodGet, path: "/components", serve: (*visit).components, dev: true},
	}
}

func hasRoute(path string) bool {
	for _, r := range routes {
		if r.path == path && r.method == http.MethodGet {
			return true
		}
	}
	return false
}

// components shows every component of the visual language.
func (v *visit) components() error { return v.render("components", "Components", nil) }
