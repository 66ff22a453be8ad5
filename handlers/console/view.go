package console

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
)

//go:embed templates
var templateFiles embed.FS

var templates = template.Must(template.New("").Funcs(functions).ParseFS(templateFiles, "templates/*.html"))

// view is what the template of a page gets.
type view struct {
	*visit // nil: nobody is signed in

	Title   string
	Data    any            // of the page
	Problem *admin.Problem // why the form of the page was refused; nil: it was not
	Flash   string         // what the last form reports
	Tenants []string       // for the menu
	More    bool           // there are more tenants
	Nav     []navItem
	Content template.HTML
	Bare    bool // without the navigation

	name string // of the template
	part bool   // without the page around it
}

// newView returns the view of a page with its navigation.
func (v *visit) newView(title string) (*view, error) {
	page := &view{visit: v, Title: title, Flash: v.shown}
	const most = 20
	list, err := v.Admin.Tenants(v.ctx(), v.Caller, models.Page{Limit: most})
	if err != nil {
		return nil, err
	}
	page.More = list.NextCursor != ""
	for _, t := range list.Items {
		page.Tenants = append(page.Tenants, t.ID)
	}
	page.Nav = v.navigation()
	return page, nil
}

// Fault returns what is wrong with a member of the body that the form was turned into,
// as a JSON Pointer such as /name, or with a parameter. It includes the faults of
// members inside it.
func (v *view) Fault(at string) string {
	if v.Problem == nil {
		return ""
	}
	var found []string
	for _, f := range v.Problem.Errors {
		if f.Pointer == at || f.Parameter != "" && f.Parameter == at || strings.HasPrefix(f.Pointer, at+"/") && at != "" {
			found = append(found, f.Detail)
		}
	}
	return strings.Join(found, "; ")
}

// OtherFaults returns the faults that none of the pointers covers, for the banner above a
// form.
func (v *view) OtherFaults(shown ...string) (list []string) {
	if v.Problem == nil {
		return nil
	}
	if len(v.Problem.Errors) == 0 {
		return []string{v.Problem.Detail}
	}
	for _, f := range v.Problem.Errors {
		covered := false
		for _, at := range shown {
			covered = covered || f.Pointer == at || f.Parameter == at && at != "" || at != "" && strings.HasPrefix(f.Pointer, at+"/")
		}
		if !covered {
			text := f.Detail
			if name := f.Parameter + strings.TrimPrefix(f.Pointer, "/"); name != "" {
				text = name + " " + text
			}
			list = append(list, text)
		}
	}
	return list
}

// write renders a page completely before it sends the first byte, so that a template
// that fails does not send a part of a page.
func write(c *gin.Context, status int, page *view) {
	var content, whole bytes.Buffer
	err := templates.ExecuteTemplate(&content, page.name, page)
	if err == nil {
		page.Content = template.HTML(content.String())
		if whole = content; !page.part {
			whole = bytes.Buffer{}
			err = templates.ExecuteTemplate(&whole, "layout", page)
		}
	}
	if err != nil {
		c.Error(err)
		c.String(http.StatusInternalServerError, "The server encountered an unexpected condition.\n")
		c.Abort()
		return
	}
	c.Header("Content-Type", "text/html; charset=utf-8")
	c.Status(status)
	if c.Request.Method != http.MethodHead {
		c.Writer.Write(whole.Bytes())
	}
	c.Abort()
}

// failure is what the page of an error shows.
type failure struct{ Heading, Text, Request string }

// fail writes the page of an error that belongs to no form.
func (k *console) fail(c *gin.Context, v *visit, err error) {
	p := admin.ProblemOf(err)
	if p.Status >= http.StatusInternalServerError {
		c.Error(err)
	}
	f := failure{Heading: p.Title, Text: p.Detail}
	switch p.Status {
	case http.StatusNotFound:
		f = failure{"Not found", "There is no such page or object, or your admin key is not valid for its tenant.", ""}
	case http.StatusForbidden:
		f.Heading = "Not allowed"
	case http.StatusServiceUnavailable, http.StatusInternalServerError:
		f = failure{"Something went wrong", p.Detail + ".", c.Writer.Header().Get("X-Request-Id")}
	}
	page := &view{Title: f.Heading, Bare: true}
	if v != nil && !errors.Is(err, models.ErrUnavailable) {
		if with, err := v.newView(f.Heading); err == nil {
			page = with
		}
	}
	page.name, page.Data = "failure", f
	write(c, p.Status, page)
}

// refuse writes the page of a request that the edge rejects.
func refuse(c *gin.Context, status int, heading, text string) {
	write(c, status, &view{Title: heading, Bare: true, name: "failure", Data: failure{heading, text, ""}})
}

// NotFound sends a 404.
func NotFound(c *gin.Context) {
	setHeaders(c)
	refuse(c, http.StatusNotFound, "Not found", "There is no such page.")
}

// MethodNotAllowed sends a 405. gin has set Allow by then.
func MethodNotAllowed(c *gin.Context) {
	setHeaders(c)
	refuse(c, http.StatusMethodNotAllowed, "Method not allowed", "This page does not accept the method of the request.")
}

// ForeignHost sends the 403 of a request whose Host names another machine.
func ForeignHost(c *gin.Context) {
	setHeaders(c)
	refuse(c, http.StatusForbidden, "Unknown host name", "This console is only for the machine that it runs on. Open it as localhost or 127.0.0.1.")
}

// IsPart reports whether the template is written without the page around it.
func (v *view) IsPart() bool { return v.part }

// SignedIn reports whether the page belongs to an operator who is signed in.
func (v *view) SignedIn() bool { return v.visit != nil }

// TenantName returns the tenant of the page, or "".
func (v *view) TenantName() string {
	if v.visit == nil {
		return ""
	}
	return v.Tenant
}

// Here returns the path of a form of the page, with the filters of the page.
func (v *view) Here(form string) string {
	if q := v.g.Request.URL.RawQuery; q != "" {
		return v.Path + "/" + form + "?" + q
	}
	return v.Path + "/" + form
}
