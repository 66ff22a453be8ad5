package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// visit is a request of an operator who is signed in.
type visit struct {
	*console
	g       *gin.Context
	session *models.ConsoleSession
	tenant  *admin.Tenant // of the path; nil: none

	Caller *admin.Caller
	Tenant string // the id of the tenant in the path; empty: none
	Path   string // of the request
	Token  string // anti-forgery token of its forms
	now    time.Time
	shown  string // what the last form reported; cleared by signedIn
}

// signedIn returns the handler of a page. It sends an operator who is not signed in to
// the sign-in page, and rejects one whose role does not include the page.
func (k *console) signedIn(p route) gin.HandlerFunc {
	return func(c *gin.Context) {
		ctx := c.Request.Context()
		session, key, err := k.current(c)
		if errors.Is(err, models.ErrNotFound) {
			k.sendToSignIn(c)
			return
		}
		if err != nil {
			k.fail(c, nil, err)
			return
		}
		v := &visit{
			console: k, g: c, session: session, Path: c.Request.URL.Path, Tenant: c.Param("tenant"), now: k.Admin.Store.Now(),
			Caller: &admin.Caller{Key: key, IP: k.ClientIP(c.Request), RequestID: c.Writer.Header().Get("X-Request-Id")},
			Token:  formToken(readCookie(c, sessionCookie(c.Request))),
		}
		// A page that a script reads again and again does not keep a session alive.
		if c.GetHeader("X-Latchkey-Poll") == "" && !Streams(c.FullPath()) {
			if err := errors.Join(k.Admin.Store.TouchConsoleSession(ctx, session), k.Admin.Store.UseAdminKey(ctx, key, v.now)); err != nil {
				k.Log.Warn("record the use of the console", "key", key.ID, "error", err)
			}
		}
		if err := v.serve(p); err != nil {
			k.fail(c, v, err)
		}
	}
}

func (v *visit) serve(p route) error {
	if v.Tenant != "" { // a page need not call an operation of the tenant
		if !settings.ValidTenantID(v.Tenant) {
			return models.ErrNotFound
		}
		var err error
		if v.tenant, err = v.Admin.Tenant(v.ctx(), v.Caller, v.Tenant); err != nil {
			v.Tenant = "" // so that the page of the error has no links into it
			return err
		}
	}
	if p.operation != "" && !v.Caller.MayCall(p.operation) {
		return &admin.Problem{Status: http.StatusForbidden, Title: "Forbidden", Code: "forbidden", Detail: "The role " + string(v.Caller.Key.Role) + " does not include this page."}
	}
	// The flash is for the page that the form redirected to, not for a part of a page.
	if v.g.Request.Method == http.MethodGet && v.g.GetHeader("HX-Request") == "" && v.session.Flash != "" {
		v.shown = v.session.Flash
		if err := v.Admin.Store.FlashConsole(v.ctx(), v.session.Digest, ""); err != nil {
			return err
		}
	}
	return p.serve(v)
}

// sendToSignIn redirects to the sign-in page, which returns to this page.
func (k *console) sendToSignIn(c *gin.Context) {
	to := basePath + "/sign-in"
	if c.Request.Method == http.MethodGet && c.Request.URL.Path != basePath {
		to += "?next=" + url.QueryEscape(c.Request.URL.RequestURI())
	}
	if c.GetHeader("HX-Request") != "" || Streams(c.FullPath()) {
		c.Header("HX-Redirect", basePath+"/sign-in")
		c.Status(http.StatusUnauthorized)
		return
	}
	c.Redirect(http.StatusSeeOther, to)
}

func (v *visit) ctx() context.Context { return v.g.Request.Context() }

// May reports whether the role of the operator includes an operation of the admin API,
// such as put-client.
func (v *visit) May(operation string) bool { return v.Caller.MayCall(operation) }

// owner reports whether the operator has the role owner.
func (v *visit) owner() bool { return v.Caller.Key.Role == models.RoleOwner }

// query returns a parameter of the URL, without the space around it.
func (v *visit) query(name string) string { return strings.TrimSpace(v.g.Query(name)) }

// form returns a field of the form.
func (v *visit) form(name string) string { return v.g.Request.PostForm.Get(name) }

// precondition returns the condition that the object still has the version that the form
// was loaded with.
func (v *visit) precondition() admin.Precondition {
	if version := v.form("version"); version != "" {
		return admin.IfVersion(version)
	}
	return admin.Precondition{}
}

// param returns a part of the path.
func (v *visit) param(name string) string { return v.g.Param(name) }

// at returns the path of a page of the tenant.
func (v *visit) at(elements ...string) string {
	p := basePath + "/t/" + v.Tenant
	for _, e := range elements {
		p += "/" + url.PathEscape(e)
	}
	return p
}

// render writes a page. The template `name` gets a view, whose Data is data.
func (v *visit) render(name, title string, data any) error {
	return v.renderStatus(http.StatusOK, name, title, data, nil)
}

// renderProblem writes a page whose form an operation refused. It returns err if err is
// not about the form, such as a fault of the server.
func (v *visit) renderProblem(name, title string, data any, err error) error {
	p := admin.ProblemOf(err)
	if p.Status >= http.StatusInternalServerError || p.Status == http.StatusNotFound || p.Status == http.StatusUnauthorized {
		return err
	}
	return v.renderStatus(p.Status, name, title, data, p)
}

func (v *visit) renderStatus(status int, name, title string, data any, p *admin.Problem) error {
	if v.g.GetHeader("HX-Request") != "" && v.g.GetHeader("HX-Boosted") == "" {
		return v.renderPart(name, data)
	}
	page, err := v.newView(title)
	if err != nil {
		return err
	}
	page.name, page.Data, page.Problem = name, data, p
	write(v.g, status, page)
	return nil
}

// renderPart writes a template without the page around it, for htmx.
func (v *visit) renderPart(name string, data any) error {
	write(v.g, http.StatusOK, &view{visit: v, part: true, name: name, Data: data})
	return nil
}

// redirect ends a form: the browser loads the page, which reports the text once.
func (v *visit) redirect(to, flash string) error {
	if flash != "" {
		if err := v.Admin.Store.FlashConsole(v.ctx(), v.session.Digest, flash); err != nil {
			return err
		}
	}
	v.g.Redirect(http.StatusSeeOther, to)
	return nil
}

// home redirects to the first page that the role includes, in the tenant that the key is
// valid for.
func (v *visit) home() error {
	tenants, err := v.Admin.Tenants(v.ctx(), v.Caller, models.Page{Limit: 50})
	if err != nil {
		return err
	}
	if len(tenants.Items) == 0 {
		return v.render("no-tenant", "No tenant", nil)
	}
	v.Tenant = tenants.Items[0].ID
	for _, t := range tenants.Items {
		if t.ID == settings.DefaultTenant {
			v.Tenant = t.ID
		}
	}
	return v.tenantHome()
}

// tenants lists the tenants that the key is valid for.
func (v *visit) tenants() error {
	p, err := admin.NewPage(v.query("cursor"), 50, v.query("q"))
	if err != nil {
		return err
	}
	list, err := v.Admin.Tenants(v.ctx(), v.Caller, p)
	if err != nil {
		return err
	}
	return v.render("tenants", "Tenants", map[string]any{"List": list, "Query": v.query("q")})
}

// TenantLink returns the path of the same section in another tenant.
func (v *visit) TenantLink(tenant string) string {
	section, _, _ := strings.Cut(strings.TrimPrefix(v.Path, v.at()+"/"), "/")
	if v.Tenant == "" || !hasRoute("/t/:tenant/"+section) {
		return basePath + "/t/" + tenant
	}
	return basePath + "/t/" + tenant + "/" + section
}

// tenantHome redirects to the first page of a tenant.
func (v *visit) tenantHome() error {
	for _, item := range v.navigation() {
		if item.Href != "" {
			return v.redirect(item.Href, v.shown)
		}
	}
	return models.ErrNotFound
}
