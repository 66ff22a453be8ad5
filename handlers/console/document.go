package console

import (
	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/settings"
)

// document is the form that edits all settings of an object as JSON, including those that
// have no field of their own.
type document struct {
	Text string
	Sent bool // the operator has sent it, so that the faults of the page are its own
	Form string
}

// newDocument returns the form for an object. The form is sent to the path `to`.
func newDocument(doc settings.Document, to string) (document, error) {
	if doc == nil {
		doc = settings.Document{}
	}
	text, err := indented(doc)
	return document{Text: text, Form: to}, err
}

// typed returns the document as the operator has sent it.
func (d document) typed(v *visit) document {
	d.Text, d.Sent = v.form("document"), true
	return d
}

// saveClientDocument replaces the settings of a client.
func (v *visit) saveClientDocument() error {
	p, err := v.clientPage("settings")
	if err != nil {
		return err
	}
	p.Document, p.Version = p.Document.typed(v), v.form("version")
	put, _, err := v.Admin.PutClient(v.ctx(), v.Caller, v.Tenant, p.ID, []byte(p.Document.Text), admin.IfVersion(v.form("version")))
	if err != nil {
		return v.renderProblem("client", p.Name, p, err)
	}
	if put.Secret != "" {
		return v.render("client-secret", "The secret of "+p.ID, &clientPage{Client: put, Name: p.ID, Secret: &admin.NewSecret{Secret: put.Secret}})
	}
	return v.redirect(v.at("clients", p.ID), "Saved. Sessions that begin from now on have the new settings.")
}

// saveIssuerDocument replaces the settings of a trusted issuer.
func (v *visit) saveIssuerDocument() error {
	p, err := v.issuerPage()
	if err != nil {
		return err
	}
	p.Document, p.Version = p.Document.typed(v), v.form("version")
	if _, _, err := v.Admin.PutIssuer(v.ctx(), v.Caller, v.Tenant, p.ID, []byte(p.Document.Text), admin.IfVersion(v.form("version"))); err != nil {
		return v.renderProblem("issuer", p.ID, p, err)
	}
	return v.redirect(v.at("issuers", p.ID), "Saved.")
}

// saveTenantDocument replaces the settings of the tenant.
func (v *visit) saveTenantDocument() error {
	p, err := v.settingsPage()
	if err != nil {
		return err
	}
	p.Document, p.Version = p.Document.typed(v), v.form("version")
	if _, _, err := v.Admin.PutTenant(v.ctx(), v.Caller, v.Tenant, []byte(p.Document.Text), admin.IfVersion(v.form("version"))); err != nil {
		return v.renderProblem("settings", "Settings", p, err)
	}
	return v.redirect(v.at("settings"), "Saved.")
}
