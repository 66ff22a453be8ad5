package console

import (
	"time"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// keysPage is the list of signing keys.
type keysPage struct {
	Rows      []keyRow
	Next      moment // when the next key starts to sign; zero: unknown
	Rotation  string
	Announced bool
	JWKS      string
	Algorithm string
}

type keyRow struct {
	admin.SigningKey
	Created, Activates, Retired moment
	Retire                      string // empty: not possible
}

// keys serves the signing keys of the tenant.
func (v *visit) keys() error {
	p, err := v.keysPage()
	if err != nil {
		return err
	}
	return v.render("keys", "Keys", p)
}

func (v *visit) keysPage() (p keysPage, err error) {
	list, err := v.Admin.SigningKeys(v.ctx(), v.Caller, v.Tenant)
	if err != nil {
		return p, err
	}
	p.JWKS = v.tenant.Status.Issuer + "/.well-known/jwks.json"
	var newest time.Time
	for i := len(list.Items) - 1; i >= 0; i-- {
		k := list.Items[i]
		row := keyRow{SigningKey: k, Created: when(k.CreatedAt, v.now), Activates: when(k.ActivatesAt, v.now)}
		if k.RetiredAt != nil {
			row.Retired = when(*k.RetiredAt, v.now)
		}
		if k.State != "retired" && v.May("retire-signing-key") {
			row.Retire = v.at("keys", k.Kid, "retire")
		}
		switch k.State {
		case "announced":
			p.Announced, p.Next = true, row.Activates
		case "active":
			p.Algorithm = k.Algorithm
		}
		if k.ActivatesAt.After(newest) && k.State != "retired" {
			newest = k.ActivatesAt
		}
		p.Rows = append(p.Rows, row)
	}
	var tenant settings.TenantSpec
	if err := v.tenant.Settings.Decode(&tenant); err != nil {
		return p, err
	}
	every := models.DefaultKeyRotation
	if tenant.KeyRotation != nil {
		every = tenant.KeyRotation.Std()
	}
	if every == session.NoIdleTimeout {
		p.Rotation = "never"
		return p, nil
	}
	p.Rotation = duration(every)
	if !p.Announced && !newest.IsZero() {
		p.Next = when(newest.Add(every), v.now)
	}
	return p, nil
}

// rotateKey announces a new signing key.
func (v *visit) rotateKey() error {
	k, err := v.Admin.RotateKey(v.ctx(), v.Caller, v.Tenant)
	if err != nil {
		p, readErr := v.keysPage()
		if readErr != nil {
			return readErr
		}
		return v.renderProblem("keys", "Keys", p, err)
	}
	return v.redirect(v.at("keys"), "The key "+k.Kid+" is announced. It starts to sign "+when(k.ActivatesAt, v.now).Relative+", when every verifier has had time to fetch it.")
}

// retireKey takes a signing key out of service at once.
func (v *visit) retireKey() error {
	kid := v.param("kid")
	list, err := v.Admin.SigningKeys(v.ctx(), v.Caller, v.Tenant)
	if err != nil {
		return err
	}
	var key *admin.SigningKey
	for i := range list.Items {
		if list.Items[i].Kid == kid {
			key = &list.Items[i]
		}
	}
	if key == nil {
		return admin.ErrNotFound
	}
	stats, err := v.Admin.Stats(v.ctx(), v.Caller, []string{v.Tenant})
	if err != nil {
		return err
	}
	live := int(stats.Sessions[v.Tenant])
	c := confirmation{
		Heading: "Retire the key " + kid + "?", What: "the id of the key", Word: kid, Button: "Retire the key", Back: v.at("keys"),
	}
	switch key.State {
	case "active":
		c.Text = []string{
			"It signs now. The server refuses every access token that it has signed, which affects the tokens of up to " + plural(live, "session") + ". Another key signs from then on.",
			"No session ends: apps get a new access token with their refresh token.",
		}
	case "verify-only":
		c.Text = []string{
			"It was replaced and still verifies. The server refuses the access tokens that it has signed, which affects those of up to " + plural(live, "session") + " that have not expired yet.",
			"No session ends: apps get a new access token with their refresh token.",
		}
	case "announced":
		c.Text = []string{"It has not signed anything yet, so no token is refused. No session ends."}
	default:
		return v.redirect(v.at("keys"), "The key is retired already.")
	}
	c.Text = append(c.Text, "Verifiers that keep the key set in memory accept its tokens until they fetch the key set again. Retire a key if it may have been copied; to replace a key in the ordinary way, rotate.")
	if ok, err := v.confirmed(c, nil); !ok {
		return err
	}
	done, err := v.Admin.RetireKey(v.ctx(), v.Caller, v.Tenant, kid)
	if err != nil {
		_, err = v.confirmed(c, err)
		return err
	}
	return v.redirect(v.at("keys"), "The key "+kid+" is retired. The key "+done.Signs+" signs.")
}
