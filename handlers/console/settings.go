package console

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// settingsPage is the settings of the tenant.
type settingsPage struct {
	*admin.Tenant
	Fields   []field
	Document document
	Owned    bool // by the server's file
	Edit     bool // the role may change them
	Created  moment
	Updated  moment
	File     []fileOwned
	More     bool // the file owns more objects than are shown
	Suspend  string
	Delete   string // empty: not possible
}

type fileOwned struct{ Kind, ID, Href string }

// mostOwned bounds the objects of the file that the page shows.
const mostOwned = 200

// Field returns a setting of the form.
func (p *settingsPage) Field(name string) *field { return named(p.Fields, name) }

// tenantFields returns the settings that have a field.
func tenantFields() []field {
	const assurance, state = "Classes of assurance", "State"
	return []field{
		{Name: "signing_algorithm", Label: "Signing algorithm", Kind: pickField, Default: "RS256", Options: []choice{
			{Value: "RS256", Label: "RS256 (default)"}, {Value: "ES256", Label: "ES256"}, {Value: "Ed25519", Label: "Ed25519"},
		}, Hint: "Of the next signing key."},
		{Name: "key_rotation", Label: "Replace a signing key after", Kind: textField, Placeholder: "90d", Hint: "A duration, or none."},
		{Name: "events.retention", Label: "Keep events for", Kind: textField, Placeholder: "90d", Hint: "From 7d to 3650d."},
		{Name: "user_retention", Label: "Delete users who have not signed in for", Kind: textField, Placeholder: "none", Hint: "A duration, or none."},
		{Name: "store_device", Label: "Store devices", Kind: boolField, Default: "true", Options: yesOrNo, Hint: "User agents and addresses of sessions."},
		{Name: "searchable_attributes", Label: "Searchable attributes", Kind: wordsField, Hint: "The attributes by whose exact value users can be found, separated by spaces."},

		{Name: "acr", Group: assurance, Label: "Classes, from the weakest to the strongest", Kind: classField, Hint: "One a line: acr = CEL expression over amr and factors. Left empty: the default classes."},
		{Name: "disabled", Group: state, Label: "Disabled", Kind: flagField, Hint: "No client gets a token. Uncheck this to enable the tenant."},
	}
}

func (v *visit) settingsPage() (p *settingsPage, err error) {
	p = &settingsPage{Tenant: v.tenant}
	p.Owned, p.Edit = p.Status.ManagedBy != nil, v.May("patch-tenant")
	p.Created, p.Updated = when(p.Status.CreatedAt, v.now), when(p.Status.UpdatedAt, v.now)
	p.Fields = inForm(shown(tenantFields(), p.Settings), false, p.Edit && !p.Owned, v.owner())
	if p.Document, err = newDocument(p.Settings, v.at("settings", "document")); err != nil {
		return p, err
	}
	refs, err := v.Admin.FileOwned(v.ctx(), v.Caller, v.Tenant, mostOwned+1)
	if err != nil {
		return p, err
	}
	p.More = len(refs) > mostOwned
	for _, r := range refs[:min(len(refs), mostOwned)] {
		p.File = append(p.File, v.fileOwned(r))
	}
	if v.May("suspend-tenant") {
		p.Suspend = v.at("settings", "suspend")
	}
	if v.May("delete-tenant") && v.Tenant != settings.DefaultTenant {
		p.Delete = v.at("settings", "delete")
	}
	return p, nil
}

func (v *visit) fileOwned(r models.Ref) fileOwned {
	o := fileOwned{Kind: r.Kind, ID: r.ID}
	switch r.Kind {
	case models.KindUser:
		o.Href = v.userHref(r.ID)
	case models.KindClient:
		o.Href = v.at("clients", r.ID)
	case models.KindIssuer:
		o.Kind = "trusted issuer"
		o.Href = v.at("issuers", r.ID)
	case models.KindDestination:
		o.Kind = "event destination"
		if v.May("get-event-destination") {
			o.Href = v.at("destinations", r.ID)
		}
	}
	return o
}

// settings serves the settings of the tenant.
func (v *visit) settings() error {
	p, err := v.settingsPage()
	if err != nil {
		return err
	}
	return v.render("settings", "Settings", p)
}

// saveSettings changes the settings of the tenant.
func (v *visit) saveSettings() error {
	p, err := v.settingsPage()
	if err != nil {
		return err
	}
	fields, patch, err := changes(p.Fields, p.Settings, v.g.PostFormArray)
	if err != nil {
		return err
	}
	p.Fields, p.Version = fields, v.form("version") // another operator's change stays noticed
	if len(patch) == 0 {
		return v.redirect(v.at("settings"), "Nothing was changed.")
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	if _, err = v.Admin.PatchTenant(v.ctx(), v.Caller, v.Tenant, body, v.precondition()); err != nil {
		return v.renderProblem("settings", "Settings", p, err)
	}
	return v.redirect(v.at("settings"), "Saved.")
}

func (v *visit) tenantRef() models.Ref {
	return models.Ref{Kind: models.KindTenant, Tenant: v.Tenant, ID: v.Tenant}
}

// suspendTenant suspends the tenant at once.
func (v *visit) suspendTenant() error {
	return v.suspend(v.tenantRef(), confirmation{
		Heading: "Suspend the tenant " + v.Tenant + "?", What: "the tenant's id", Back: v.at("settings"),
		Text: []string{"No client gets a token, and nobody can sign in, until an owner lifts the suspension."},
	}, "The tenant is suspended, and its sessions have ended.")
}

// resumeTenant lifts the suspension of the tenant.
func (v *visit) resumeTenant() error {
	if _, err := v.Admin.Resume(v.ctx(), v.Caller, v.tenantRef(), nil); err != nil {
		p, readErr := v.settingsPage()
		if readErr != nil {
			return readErr
		}
		return v.renderProblem("settings", "Settings", p, err)
	}
	return v.redirect(v.at("settings"), "The suspension is lifted.")
}

// deleteTenant removes the tenant and everything in it.
func (v *visit) deleteTenant() error {
	ending, err := v.sessionsEnding(v.tenantRef())
	if err != nil {
		return err
	}
	c := confirmation{
		Heading: "Remove the tenant " + v.Tenant + "?", What: "the tenant's id", Word: v.Tenant, Button: "Remove the tenant", Back: v.at("settings"),
		Text: []string{"This ends " + ending + " and removes the tenant's clients, trusted issuers, users and keys.", "It cannot be undone, and the id can never be used again."},
	}
	if ok, err := v.confirmed(c, nil); !ok {
		return err
	}
	if err := v.Admin.DeleteTenant(v.ctx(), v.Caller, v.Tenant, v.form("confirm"), admin.Precondition{}); err != nil {
		_, err = v.confirmed(c, err)
		return err
	}
	return v.redirect(basePath+"/tenants", "The tenant "+v.Tenant+" is removed.")
}

// exportPage serves the form of the export.
func (v *visit) exportPage() error {
	return v.render("export", "Export", map[string]any{"Users": "", "Scope": "tenant"})
}

// downloadExport sends the configuration as a file that `latchkey apply` accepts.
func (v *visit) downloadExport() error {
	o := admin.ExportOptions{Tenants: []string{v.Tenant}, Users: v.form("users") != "", ForNewDatabase: v.form("for_new_database") != "", YAML: v.form("format") != "json"}
	name := v.Tenant
	if v.form("scope") == "all" {
		o.Tenants, name = nil, "all"
	}
	text, err := v.Admin.Export(v.ctx(), v.Caller, o)
	if err != nil {
		return v.renderProblem("export", "Export", map[string]any{"Users": v.form("users"), "Scope": v.form("scope")}, err)
	}
	kind, extension := "application/yaml", "yaml"
	if !o.YAML {
		kind, extension = "application/json", "json"
	}
	v.g.Header("Content-Disposition", fmt.Sprintf(`attachment; filename="latchkey-%s-%s.%s"`, name, v.now.UTC().Format("20060102"), extension))
	v.g.Data(http.StatusOK, kind, text)
	return nil
}
