package console

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// claimsForm is the content of the tab Claims and policy.
type claimsForm struct {
	Allow   string
	AllowIs expression
	Rows    []claimRow
	Sub     string
	How     []choice // the ways to sign in
	Preview *admin.Preview
	Faults  int // expressions that do not compile

	UserMembers, SessionMembers, TokenMembers string // names for completion, separated by spaces
}

// claimRow is one claim of the form.
type claimRow struct {
	N           int
	Name, Value string
	Is          expression
}

// expression is an expression with what is wrong with it.
type expression struct{ Fault, Line, Mark string }

// newExpression returns the fault of an expression with the line that it is in, and a
// mark below its column.
func newExpression(text string, fault *admin.ExpressionFault) (e expression) {
	if fault == nil {
		return e
	}
	e.Fault = fault.Detail
	if fault.Line > 0 {
		e.Fault = fmt.Sprintf("Line %d, column %d: %s", fault.Line, fault.Column, fault.Detail)
		if lines := strings.Split(text, "\n"); fault.Line <= len(lines) {
			e.Line, e.Mark = lines[fault.Line-1], strings.Repeat(" ", fault.Column-1)+"^"
		}
	}
	return e
}

// ways are the ways to sign in that a preview can assume.
var ways = []choice{
	{Value: "pwd", Label: "a password"}, {Value: "hwk", Label: "a passkey"}, {Value: "pwd otp", Label: "a password and a code"},
}

func (v *visit) clientClaims() error {
	p, err := v.claimsPage()
	if err != nil {
		return err
	}
	f := p.Claims
	f.Allow = p.Form.Allow
	for _, name := range slices.Sorted(maps.Keys(p.Form.Claims)) {
		f.add(name, p.Form.Claims[name])
	}
	f.Sub = v.query("sub")
	if f.Sub == "" {
		f.Sub = v.someUser()
	}
	return v.showClaims(p, f, "pwd", nil)
}

// saveClaims checks or saves the expressions. With HX-Request it only checks, while the
// operator types.
func (v *visit) saveClaims() error {
	p, err := v.claimsPage()
	if err != nil {
		return err
	}
	f := p.Claims
	f.Allow, f.Sub = strings.TrimSpace(strings.ReplaceAll(v.form("allow"), "\r\n", "\n")), v.form("sub")
	if f.Sub == "" {
		f.Sub = v.someUser()
	}
	names, values := v.g.PostFormArray("claim_name"), v.g.PostFormArray("claim_value")
	for i, name := range names {
		value := ""
		if i < len(values) {
			value = strings.TrimSpace(strings.ReplaceAll(values[i], "\r\n", "\n"))
		}
		if name = strings.TrimSpace(name); name != "" || value != "" {
			f.Rows = append(f.Rows, claimRow{N: i, Name: name, Value: value}) // N as on the page, where a fault is shown
		}
	}
	if v.form("action") != "save" || v.g.GetHeader("HX-Request") != "" {
		return v.showClaims(p, f, v.form("how"), nil)
	}
	body, err := json.Marshal(map[string]any{"allow": orNull(f.Allow), "claims": f.patch(p.Form.Claims)})
	if err != nil {
		return err
	}
	if _, err := v.Admin.PatchClient(v.ctx(), v.Caller, v.Tenant, p.ID, body, admin.IfVersion(v.form("version"))); err != nil {
		return v.showClaims(p, f, v.form("how"), err)
	}
	return v.redirect(v.at("clients", p.ID, "claims"), "Saved. The next token of each session has the new claims.")
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// patch returns the member claims of a merge patch.
func (f *claimsForm) patch(stored map[string]string) map[string]any {
	patch := map[string]any{}
	for name := range stored {
		patch[name] = nil
	}
	for _, row := range f.Rows {
		patch[row.Name] = row.Value
	}
	return patch
}

func (f *claimsForm) add(name, value string) {
	next := 0
	if n := len(f.Rows); n > 0 {
		next = f.Rows[n-1].N + 1
	}
	f.Rows = append(f.Rows, claimRow{N: next, Name: name, Value: value})
}

// claimsPage reads a client for its tab Claims and policy, and the names that complete
// its expressions.
func (v *visit) claimsPage() (*clientPage, error) {
	p, err := v.clientPage("claims")
	if err != nil {
		return nil, err
	}
	if !p.HasUsers() {
		return nil, models.ErrNotFound
	}
	issuers, err := v.Admin.Issuers(v.ctx(), v.Caller, v.Tenant, models.Page{Limit: 50})
	if err != nil {
		return nil, err
	}
	user, mapped := []string{"sub"}, []string{"amr", "acr", "auth_time", "acr_times", "device.name", "device.user_agent", "device.ip"}
	for _, issuer := range issuers.Items {
		var s settings.IssuerSettings
		if err := issuer.Settings.Decode(&s); err != nil {
			return nil, err
		}
		user = append(user, slices.Collect(maps.Keys(s.UserAttributes))...)
		mapped = append(mapped, slices.Collect(maps.Keys(s.SessionAttributes))...)
	}
	p.Claims = &claimsForm{UserMembers: words(user), SessionMembers: words(mapped), TokenMembers: words([]string{"sub", "iss", "aud", "iat", "exp", "amr", "acr", "email", "groups"})}
	return p, nil
}

// words returns each name once, in order.
func words(names []string) string {
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

// someUser returns the id of a user, so that the preview shows something.
func (v *visit) someUser() string {
	users, err := v.Admin.Users(v.ctx(), v.Caller, v.Tenant, "", "", models.Page{Limit: 1})
	if err != nil || len(users.Items) == 0 {
		return "alice"
	}
	return users.Items[0].Sub
}

// showClaims checks the expressions and shows the form. refusal is why they were not
// saved; nil: nobody has tried.
func (v *visit) showClaims(p *clientPage, f *claimsForm, how string, refusal error) error {
	for _, w := range ways {
		w.On = w.Value == how
		f.How = append(f.How, w)
	}
	if p.Previews {
		claims := map[string]string{}
		for _, row := range f.Rows {
			claims[row.Name] = row.Value
		}
		body, err := json.Marshal(map[string]any{"allow": f.Allow, "claims": claims, "sub": f.Sub, "amr": strings.Fields(how)})
		if err != nil {
			return err
		}
		if f.Preview, err = v.Admin.PreviewClient(v.ctx(), v.Caller, v.Tenant, p.ID, body); err != nil {
			return err
		}
		f.Faults = len(f.Preview.Faults)
		f.AllowIs = newExpression(f.Allow, f.Preview.Fault(admin.Pointer("allow")))
		for i, row := range f.Rows {
			f.Rows[i].Is = newExpression(row.Value, f.Preview.Fault(admin.Pointer("claims", row.Name)))
		}
	}
	if v.g.GetHeader("HX-Request") != "" {
		return v.renderPart("claims-checked", p)
	}
	if p.Editable {
		f.add("", "")
		f.add("", "")
	}
	if refusal != nil {
		return v.renderProblem("client-claims", p.Name, p, refusal)
	}
	return v.render("client-claims", p.Name, p)
}
