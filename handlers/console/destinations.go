package console

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/settings"
)

// destinationsPage is the list of event destinations.
type destinationsPage struct {
	Rows []destinationRow
	New  string // empty: the role may not
	pager
}

type destinationRow struct {
	admin.Destination
	Spec    destinationSpec
	Href    string
	Through moment
}

// destinations lists the event destinations of the tenant.
func (v *visit) destinations() error {
	page, err := admin.NewPage(v.query("cursor"), pageSize, "")
	if err != nil {
		return err
	}
	list, err := v.Admin.Destinations(v.ctx(), v.Caller, v.Tenant, page)
	if err != nil {
		return err
	}
	var p destinationsPage
	for _, d := range list.Items {
		row, err := v.destinationRow(d)
		if err != nil {
			return err
		}
		p.Rows = append(p.Rows, row)
	}
	p.pager = v.pager(list.NextCursor)
	if v.May("put-event-destination") {
		p.New = v.at("new-destination")
	}
	return v.render("destinations", "Event destinations", p)
}

func (v *visit) destinationRow(d admin.Destination) (destinationRow, error) {
	spec, err := newDestinationSpec(d.Settings)
	return destinationRow{d, spec, v.at("destinations", d.ID), when(d.Status.DeliveredThrough, v.now)}, err
}

// destinationPage is one event destination.
type destinationPage struct {
	destinationRow
	State      string // of the deliveries: recent, waiting or dead
	Deliveries []deliveryRow
	Next       string
	Test       *admin.Delivery // the result of the test that was just made
	Failing    moment
	OldSecret  moment
	Disabled   moment
	Owned      bool // by the server's file
}

type deliveryRow struct {
	admin.Delivery
	When moment
	Due  moment
}

func (p destinationPage) Tab(state string) string { return p.Href + "?state=" + state }

func (v *visit) destinationPage(id string) (p destinationPage, err error) {
	d, err := v.Admin.Destination(v.ctx(), v.Caller, v.Tenant, id)
	if err != nil {
		return p, err
	}
	if p.destinationRow, err = v.destinationRow(*d); err != nil {
		return p, err
	}
	p.Owned = d.Status.ManagedBy != nil
	if d.Status.FailingSince != nil {
		p.Failing = when(*d.Status.FailingSince, v.now)
	}
	if d.Status.OldSecretUntil != nil {
		p.OldSecret = when(*d.Status.OldSecretUntil, v.now)
	}
	if d.Status.DisabledAt != nil {
		p.Disabled = when(*d.Status.DisabledAt, v.now)
	}
	p.State = v.query("state")
	if p.State != "waiting" && p.State != "dead" {
		p.State = "recent"
	}
	list, err := v.Admin.Deliveries(v.ctx(), v.Caller, v.Tenant, id, p.State, v.query("cursor"), pageSize)
	if err != nil {
		return p, err
	}
	for _, d := range list.Items {
		row := deliveryRow{Delivery: d, When: when(d.At, v.now)}
		if d.NextAt != nil {
			row.Due = when(*d.NextAt, v.now)
		}
		p.Deliveries = append(p.Deliveries, row)
	}
	if list.NextCursor != "" {
		p.Next = query(p.Href, "state", p.State, "cursor", list.NextCursor)
	}
	return p, nil
}

// showDestination serves one event destination with its deliveries.
func (v *visit) showDestination() error {
	p, err := v.destinationPage(v.param("destination"))
	if err != nil {
		return err
	}
	return v.render("destination", "Event destination "+p.ID, p)
}

// changeDestination does what one of the buttons of the page says.
func (v *visit) changeDestination() error {
	id := v.param("destination")
	flash, secret := "", (*admin.NewSecret)(nil)
	var test *admin.Delivery
	var err error
	switch v.form("do") {
	case "test":
		test, err = v.Admin.TestDestination(v.ctx(), v.Caller, v.Tenant, id)
	case "enable":
		_, err = v.Admin.EnableDestination(v.ctx(), v.Caller, v.Tenant, id)
		flash = "The destination is enabled. The events in between are delivered, too."
	case "secret":
		secret, err = v.Admin.NewDestinationSecret(v.ctx(), v.Caller, v.Tenant, id, nil)
	case "redeliver":
		var done *admin.Redelivered
		var since time.Time
		if since, err = parseTime("since", v.form("since")); err == nil {
			done, err = v.Admin.Redeliver(v.ctx(), v.Caller, v.Tenant, id, since)
		}
		switch {
		case err != nil:
		case done.Dead != nil:
			flash = plural(int(*done.Dead), "event") + " that had been given up will be attempted again."
		default:
			flash = "Events since " + when(since, v.now).Exact + " will be delivered again."
		}
	default:
		err = &admin.Problem{Status: http.StatusBadRequest, Detail: "The form has no action."}
	}
	switch {
	case err == nil && flash != "":
		return v.redirect(v.at("destinations", id), flash)
	case err == nil && secret != nil:
		return v.render("destination-secret", "New secret", map[string]any{"Secret": secret.Secret, "Until": secret.PreviousSecretUntil, "Back": v.at("destinations", id), "ID": id})
	}
	p, readErr := v.destinationPage(id)
	if readErr != nil {
		return readErr
	}
	if err != nil {
		return v.renderProblem("destination", "Event destination "+id, p, err)
	}
	p.Test = test
	return v.render("destination", "Event destination "+id, p)
}

// deleteDestination removes an event destination.
func (v *visit) deleteDestination() error {
	id := v.param("destination")
	d, err := v.Admin.Destination(v.ctx(), v.Caller, v.Tenant, id)
	if err != nil {
		return err
	}
	c := confirmation{
		Heading: "Remove the event destination " + id + "?", What: "its id", Word: id, Button: "Remove the destination", Back: v.at("destinations", id),
		Text: []string{"It receives no more events. Events that wait for another attempt (" + upTo(d.Status.Waiting) + ") are not delivered. No session ends."},
	}
	if ok, err := v.confirmed(c, nil); !ok {
		return err
	}
	if err := v.Admin.DeleteDestination(v.ctx(), v.Caller, v.Tenant, id, admin.Precondition{}); err != nil {
		_, err = v.confirmed(c, err)
		return err
	}
	return v.redirect(v.at("destinations"), "The event destination "+id+" is removed.")
}

// destinationSpec has the settings of an event destination as a form shows them.
type destinationSpec struct {
	settings.DestinationSettings
	EventLines string // one type a line
	Secret     string
	ID         string
}

func newDestinationSpec(doc settings.Document) (spec destinationSpec, err error) {
	err = doc.Decode(&spec.DestinationSettings)
	spec.EventLines = strings.Join(spec.Events, "\n")
	return spec, err
}

// destinationForm is the form that creates or changes an event destination.
type destinationForm struct {
	destinationSpec
	New     bool
	Back    string
	Version string
	Types   []string
	Owner   bool // may set allow_private_addresses
}

func (v *visit) destinationForm(id string) (f destinationForm, err error) {
	f = destinationForm{New: id == "", Back: v.at("destinations"), Types: eventTypes, Owner: v.owner()}
	if f.New {
		f.Type = settings.DestinationWebhook
		return f, nil
	}
	f.Back = v.at("destinations", id)
	d, err := v.Admin.Destination(v.ctx(), v.Caller, v.Tenant, id)
	if err != nil {
		return f, err
	}
	f.destinationSpec, err = newDestinationSpec(d.Settings)
	f.ID, f.Version = id, d.Version
	return f, err
}

// editDestination serves the form.
func (v *visit) editDestination() error {
	f, err := v.destinationForm(v.param("destination"))
	if err != nil {
		return err
	}
	return v.render("destination-form", f.title(), f)
}

func (f destinationForm) title() string {
	if f.New {
		return "New event destination"
	}
	return "Edit event destination " + f.ID
}

// saveDestination creates or changes an event destination.
func (v *visit) saveDestination() error {
	id := v.param("destination")
	f, err := v.destinationForm(id)
	if err != nil {
		return err
	}
	f.ID = id
	if f.New {
		f.ID = strings.TrimSpace(v.form("id"))
	}
	f.Version, f.EventLines, f.Secret = v.form("version"), v.form("events"), strings.TrimSpace(v.form("secret"))
	f.DestinationSettings = settings.DestinationSettings{
		Type: v.form("type"), URL: strings.TrimSpace(v.form("url")), Events: strings.Fields(f.EventLines), Paused: v.form("paused") != "",
		Description: strings.TrimSpace(v.form("description")), Audience: strings.TrimSpace(v.form("audience")), Subject: v.form("subject"),
		Client: strings.TrimSpace(v.form("client")), AllowPrivateAddresses: v.form("allow_private_addresses") != "",
	}
	body, err := f.body()
	if err != nil {
		return err
	}
	var d *admin.Destination
	switch {
	case f.ID == "":
		err = &admin.Problem{Status: http.StatusBadRequest, Errors: []admin.Fault{{Pointer: "/id", Detail: "is required"}}}
	case f.New:
		d, _, err = v.Admin.PutDestination(v.ctx(), v.Caller, v.Tenant, f.ID, body, admin.Precondition{IfNoneMatch: "*"})
	default:
		d, err = v.Admin.PatchDestination(v.ctx(), v.Caller, v.Tenant, id, body, v.precondition())
	}
	if err != nil {
		return v.renderProblem("destination-form", f.title(), f, err)
	}
	if d.Secret != "" {
		return v.render("destination-secret", "Secret", map[string]any{"Secret": d.Secret, "Until": nil, "Back": v.at("destinations", d.ID), "ID": d.ID})
	}
	return v.redirect(v.at("destinations", d.ID), "Saved.")
}

// body returns the form as the body of a request. For a change, null removes a setting
// that the form leaves empty.
func (f destinationForm) body() ([]byte, error) {
	doc := map[string]any{"type": f.Type}
	for name, value := range map[string]any{
		"url": f.URL, "description": f.Description, "audience": f.Audience, "subject": f.Subject, "client": f.Client,
		"paused": f.Paused, "allow_private_addresses": f.AllowPrivateAddresses,
	} {
		switch {
		case value != "" && value != false:
			doc[name] = value
		case !f.New:
			doc[name] = nil
		}
	}
	switch {
	case len(f.Events) > 0:
		doc["events"] = f.Events
	case !f.New:
		doc["events"] = nil
	}
	if f.destinationSpec.Secret != "" {
		doc["secret"] = f.destinationSpec.Secret
	}
	return json.Marshal(doc)
}
