package console

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
)

// usersPage is the list of users.
type usersPage struct {
	Query, Issuer, Attribute string
	Chips                    []chip
	Rows                     []userRow
	Searchable               []string // names of attributes
	pager
}

type userRow struct {
	admin.ListedUser
	Href string
	Seen moment
}

// userHref returns the page of a user. Its sub may contain anything, also what a path
// cannot.
func (v *visit) userHref(sub string) string { return query(v.at("users", "show"), "sub", sub) }

// users serves the search of users.
func (v *visit) users() error {
	p := usersPage{Query: v.query("q"), Issuer: v.query("issuer"), Attribute: v.query("attribute"), Chips: v.chips([]string{"q", "issuer", "attribute"})}
	if names, given := v.tenant.Settings["searchable_attributes"]; given {
		if err := json.Unmarshal(names, &p.Searchable); err != nil {
			return err
		}
	}
	page, err := admin.NewPage(v.query("cursor"), pageSize, p.Query)
	if err != nil {
		return err
	}
	list, err := v.Admin.Users(v.ctx(), v.Caller, v.Tenant, p.Issuer, p.Attribute, page)
	if err != nil {
		return v.renderProblem("users", "Users", p, err)
	}
	for _, u := range list.Items {
		p.Rows = append(p.Rows, userRow{u, v.userHref(u.Sub), when(u.SeenAt, v.now)})
	}
	p.pager = v.pager(list.NextCursor)
	return v.render("users", "Users", p)
}

// userPage is one user.
type userPage struct {
	*admin.User
	Live       string // how many sessions
	Seen       moment
	Attributes []attributeRow
	Sessions   []sessionRow
	AllOf      string // the search of the sessions
	Events     string // the search of the events; empty: the role may not
	Name       string // of the form that sets an attribute
	Value      string
	at         func(page string) string
}

type attributeRow struct{ Name, Value, By string }

// At returns the path of a form about the user.
func (p userPage) At(page string) string { return p.at(page) }

func (v *visit) userPage(sub string) (p userPage, err error) {
	if p.User, err = v.Admin.User(v.ctx(), v.Caller, v.Tenant, sub); err != nil {
		return p, err
	}
	p.at = func(page string) string { return query(v.at("users", page), "sub", sub) }
	p.AllOf = query(v.at("sessions"), "user", sub)
	if v.May("list-events") {
		p.Events = query(v.at("events"), "user", sub)
	}
	if p.Status.Sessions != nil {
		p.Live = liveSessions(*p.Status.Sessions)
	}
	p.Seen = moment{Relative: "never"}
	if p.Status.SeenAt != nil {
		p.Seen = when(*p.Status.SeenAt, v.now)
	}
	for _, name := range sortedKeys(p.User.Attributes) {
		p.Attributes = append(p.Attributes, attributeRow{name, valueText(p.User.Attributes[name]), p.Status.AttributesBy[name]})
	}
	list, err := v.Admin.Sessions(v.ctx(), v.Caller, v.Tenant, admin.SessionSearch{User: sub, Limit: 10})
	if err != nil {
		return p, err
	}
	for _, s := range list.Items {
		p.Sessions = append(p.Sessions, v.sessionRow(s))
	}
	return p, nil
}

// showUser serves one user.
func (v *visit) showUser() error {
	p, err := v.userPage(v.query("sub"))
	if err != nil {
		return err
	}
	return v.render("user", "User "+p.Sub, p)
}

// patchUser changes one attribute of a user, or enables them.
func (v *visit) patchUser() error {
	sub := v.query("sub")
	change := map[string]any{}
	done := "Saved."
	name, value := strings.TrimSpace(v.form("name")), v.form("value")
	switch v.form("do") {
	case "enable":
		change["disabled"] = false
		done = "The user is enabled."
	case "remove":
		change["attributes"] = map[string]any{name: nil}
		done = "The attribute " + name + " is removed."
	default:
		change["attributes"] = map[string]any{name: attributeValue(value)}
		done = "The attribute " + name + " is saved. Access tokens that are issued from now on use it."
	}
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	if name == "" && change["attributes"] != nil {
		err = &admin.Problem{Status: http.StatusBadRequest, Errors: []admin.Fault{{Pointer: "/name", Detail: "is required"}}}
	} else {
		_, err = v.Admin.PatchUser(v.ctx(), v.Caller, v.Tenant, sub, body, v.precondition())
	}
	if err != nil {
		p, readErr := v.userPage(sub)
		if readErr != nil {
			return readErr
		}
		p.Name, p.Value = name, value
		return v.renderProblem("user", "User "+sub, p, err)
	}
	return v.redirect(v.userHref(sub), done)
}

// attributeValue returns the value that an operator has typed: JSON, or else text.
func attributeValue(text string) any {
	var value any
	if err := json.Unmarshal([]byte(text), &value); err == nil && value != nil {
		return json.RawMessage(text)
	}
	return text
}

// signOutUser ends every session of a user.
func (v *visit) signOutUser() error {
	sub := v.query("sub")
	_, ending, err := v.countSessions(sub, "")
	if err != nil {
		return err
	}
	c := confirmation{
		Heading: "Sign " + sub + " out everywhere?", Action: v.g.Request.URL.RequestURI(), What: "the user's id", Word: sub, Button: "End " + ending, Back: v.userHref(sub),
		Text: []string{"This ends " + ending + " of the user, at every client.", "Client tokens that were issued before are refused. The user can sign in again."},
	}
	if ok, err := v.confirmed(c, nil); !ok {
		return err
	}
	done, err := v.Admin.EndUserSessions(v.ctx(), v.Caller, v.Tenant, sub)
	if err != nil {
		_, err = v.confirmed(c, err)
		return err
	}
	return v.redirect(c.Back, "The user is signed out: "+plural(done.Ended, "session")+" ended.")
}

// disableUser disables a user in their settings.
func (v *visit) disableUser() error {
	sub := v.query("sub")
	_, ending, err := v.countSessions(sub, "")
	if err != nil {
		return err
	}
	c := confirmation{
		Heading: "Disable " + sub + "?", Action: v.g.Request.URL.RequestURI(), What: "the user's id", Word: sub, Button: "Disable and end " + ending, Back: v.userHref(sub),
		Text: []string{"This ends " + ending + ", and the user cannot sign in until the setting is changed."},
	}
	if ok, err := v.confirmed(c, nil); !ok {
		return err
	}
	if _, err := v.Admin.PatchUser(v.ctx(), v.Caller, v.Tenant, sub, []byte(`{"disabled": true}`), admin.Precondition{}); err != nil {
		_, err = v.confirmed(c, err)
		return err
	}
	return v.redirect(c.Back, "The user is disabled, and their sessions have ended.")
}

func (v *visit) userRef(sub string) models.Ref {
	return models.Ref{Kind: models.KindUser, Tenant: v.Tenant, ID: sub}
}

// suspendUser suspends a user at once.
func (v *visit) suspendUser() error {
	sub := v.query("sub")
	return v.suspend(v.userRef(sub), confirmation{
		Heading: "Suspend " + sub + "?", Action: v.g.Request.URL.RequestURI(), What: "the user's id", Back: v.userHref(sub),
		Text: []string{"The user cannot sign in until an operator lifts the suspension. This also works if the server's file names the user."},
	}, "The user is suspended, and their sessions have ended.")
}

// resumeUser lifts the suspension of a user.
func (v *visit) resumeUser() error {
	sub := v.query("sub")
	_, err := v.Admin.Resume(v.ctx(), v.Caller, v.userRef(sub), nil)
	if err != nil {
		p, readErr := v.userPage(sub)
		if readErr != nil {
			return readErr
		}
		return v.renderProblem("user", "User "+sub, p, err)
	}
	return v.redirect(v.userHref(sub), "The suspension is lifted. The user can sign in again.")
}

// deleteUser deletes a user and everything personal about them.
func (v *visit) deleteUser() error {
	sub := v.query("sub")
	user, err := v.Admin.User(v.ctx(), v.Caller, v.Tenant, sub)
	if err != nil {
		return err
	}
	ending := "all live sessions"
	if n := user.Status.Sessions; n != nil {
		ending = liveSessions(*n)
	}
	c := confirmation{
		Heading: "Delete " + sub + "?", Action: v.g.Request.URL.RequestURI(), What: "the user's id", Word: sub, Button: "Delete the user", Back: v.userHref(sub),
		Text: []string{
			"This ends " + ending + " and deletes the user's attributes. Events keep a random pseudonym in place of the user's id, addresses and devices.",
			"It cannot be undone. The user can sign in again, as a new user.",
		},
	}
	if ok, err := v.confirmed(c, nil); !ok {
		return err
	}
	done, err := v.Admin.DeleteUser(v.ctx(), v.Caller, v.Tenant, sub)
	if err != nil {
		_, err = v.confirmed(c, err)
		return err
	}
	return v.render("user-deleted", "User deleted", done)
}
