package console

import (
	"encoding/json"
	"strings"

	"github.com/latchkey/latchkey/handlers/admin"
)

// adminKeysPage is the list of admin keys.
type adminKeysPage struct {
	Rows []adminKeyRow
	Form map[string]string
	pager
}

type adminKeyRow struct {
	admin.AdminKey
	Created, Expires, Used moment
	Own                    bool
	Revoke                 string // empty: not possible
}

func (v *visit) adminKeysPage() (p adminKeysPage, err error) {
	page, err := admin.NewPage(v.query("cursor"), pageSize, "")
	if err != nil {
		return p, err
	}
	list, err := v.Admin.AdminKeys(v.ctx(), v.Caller, page)
	if err != nil {
		return p, err
	}
	p.Form = map[string]string{"role": "viewer"}
	for _, k := range list.Items {
		row := adminKeyRow{AdminKey: k, Created: when(k.CreatedAt, v.now), Expires: v.Ago(k.ExpiresAt), Used: v.Ago(k.LastUsedAt), Own: k.ID == v.Caller.Key.ID}
		if k.State == "active" {
			row.Revoke = v.at("settings", "admin-keys", k.ID)
		}
		p.Rows = append(p.Rows, row)
	}
	p.pager = v.pager(list.NextCursor)
	return p, nil
}

// adminKeys lists the admin keys.
func (v *visit) adminKeys() error {
	p, err := v.adminKeysPage()
	if err != nil {
		return err
	}
	return v.render("admin-keys", "Admin keys", p)
}

// createAdminKey creates an admin key and shows it once.
func (v *visit) createAdminKey() error {
	doc := map[string]any{"name": strings.TrimSpace(v.form("name")), "role": v.form("role")}
	if tenants := strings.FieldsFunc(v.form("tenants"), func(r rune) bool { return r == ',' || r == ' ' }); len(tenants) > 0 {
		doc["tenants"] = tenants
	}
	if expires := strings.TrimSpace(v.form("expires_at")); expires != "" {
		doc["expires_at"] = expires
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	made, err := v.Admin.CreateAdminKey(v.ctx(), v.Caller, body)
	if err != nil {
		p, readErr := v.adminKeysPage()
		if readErr != nil {
			return readErr
		}
		for _, name := range []string{"name", "role", "tenants", "expires_at"} {
			p.Form[name] = v.form(name)
		}
		return v.renderProblem("admin-keys", "Admin keys", p, err)
	}
	return v.render("admin-key", "New admin key", map[string]any{"Key": made, "Back": v.at("settings", "admin-keys")})
}

// revokeAdminKey revokes an admin key and, if the form says so, those that it created.
func (v *visit) revokeAdminKey() error {
	id := v.param("id")
	key, err := v.Admin.AdminKey(v.ctx(), v.Caller, id)
	if err != nil {
		return err
	}
	c := confirmation{
		Heading: "Revoke the admin key of " + key.Name + "?", What: "the key's id", Word: id, Button: "Revoke the key", Back: v.at("settings", "admin-keys"),
		Text:  []string{"Every server refuses the next request with it, and ends its sessions of the console. No session of a user ends."},
		Check: "with_descendants", CheckText: "Also revoke every key that was created with it",
	}
	if id == v.Caller.Key.ID {
		c.Text = append(c.Text, "You are signed in with this key, so this also signs you out.")
	}
	if ok, err := v.confirmed(c, nil); !ok {
		return err
	}
	done, err := v.Admin.RevokeAdminKey(v.ctx(), v.Caller, id, v.form("with_descendants") != "")
	if err != nil {
		_, err = v.confirmed(c, err)
		return err
	}
	return v.redirect(c.Back, plural(len(done.Revoked), "admin key")+" revoked.")
}
