package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
	"github.com/latchkey/latchkey/settings/decode"
)

// ApplyOptions are the options of Apply.
type ApplyOptions struct {
	DryRun  bool // change nothing, and report the difference
	Replace bool // set the keys that the document leaves out to their defaults
	Prune   bool // remove the objects that the document does not name, within the key's tenants
	YAML    bool // the document is YAML; otherwise it is JSON
}

// Applied is the difference that applying a document made, or would make.
type Applied struct {
	DryRun  bool     `json:"dry_run" doc:"Nothing was changed"`
	Changes []Change `json:"changes" nullable:"false" doc:"Every difference"`
}

// Change is one difference between a document and what is stored.
type Change struct {
	Change string        `json:"change" enum:"created,changed,removed" doc:"What happens to the object"`
	Kind   string        `json:"kind" doc:"tenant, client, issuer or user; file: the stored revision"`
	Tenant string        `json:"tenant,omitempty" doc:"The id of the tenant"`
	ID     string        `json:"id,omitempty" doc:"The id of the object"`
	Fields []FieldChange `json:"fields,omitempty" doc:"The settings that change"`
	Notes  []string      `json:"notes,omitempty" doc:"Warnings: what loosens security, renames users, stays looser than the default, or has no effect"`
}

// FieldChange is a setting that changes. From and To are absent for a secret.
type FieldChange struct {
	Name string `json:"name" doc:"The name of the setting; a dot precedes the name of a member"`
	From any    `json:"from,omitempty" doc:"The previous value; absent: the default"`
	To   any    `json:"to,omitempty" doc:"The new value; absent: the default"`
}

// applyBody is the part of a configuration file that can be applied.
type applyBody struct {
	Tenants  []settings.TenantSpec `yaml:"tenants"`
	Revision int64                 `yaml:"revision"`
}

// Apply applies a document of tenants and reports the difference. The key of an admin
// changes only the objects in its tenants.
func (s *Service) Apply(ctx context.Context, c *Caller, body []byte, o ApplyOptions) (*Applied, error) {
	if err := c.may(admins, ""); err != nil {
		return nil, err
	}
	parse := decode.JSON
	if o.YAML {
		parse = decode.YAML
	}
	document, err := parse(body)
	if err != nil {
		return nil, invalid(Fault{Detail: "the document " + err.Error()})
	}
	var b applyBody
	faults, err := document.Into("", &b)
	if err != nil {
		return nil, invalid(Fault{Detail: "the document " + err.Error()})
	}
	faults = append(faults, filesIn(b.Tenants)...)
	if len(faults) > 0 {
		return nil, invalidBody("", faults)
	}
	if faults := settings.ValidateIDs(b.Tenants); len(faults) > 0 {
		return nil, invalidBody("", faults)
	}
	owner := c.may(owners, "") == nil
	if !owner {
		if err := s.confine(ctx, c, b); err != nil {
			return nil, err
		}
	}
	if owner && o.Prune && !slices.ContainsFunc(b.Tenants, func(t settings.TenantSpec) bool { return t.ID == settings.DefaultTenant }) {
		if err := s.tenantExists(ctx, settings.DefaultTenant); err == nil {
			return nil, conflict("default_tenant", "The document does not name the tenant \"default\", which cannot be removed")
		}
	}
	options := models.ApplyOptions{
		DryRun: o.DryRun, Replace: o.Replace, Prune: o.Prune, PruneInside: !owner,
		Actor: c.Actor(), Validate: s.validate, ClientNotes: oauth.UnsetClaimNotes,
	}
	if b.Revision > 0 {
		if !owner {
			return nil, forbidden("only a key with the role owner may set revision")
		}
		content, err := models.FileContent(b.Tenants)
		if err != nil {
			return nil, err
		}
		f := models.File{Revision: b.Revision}
		f.Digest, f.Known = s.Keys.DigestFile(content)
		options.File = &f
	}
	changes, err := s.Store.Apply(ctx, b.Tenants, s.Keys, options)
	if err != nil {
		return nil, err
	}
	if !o.DryRun && slices.ContainsFunc(changes, func(c models.Change) bool { return c.Created && c.Kind == models.KindTenant }) {
		if err := s.OAuth.EnsureSigningKeys(ctx); err != nil {
			return nil, err
		}
	}
	return &Applied{DryRun: o.DryRun, Changes: newChanges(changes)}, nil
}

func newChanges(changes []models.Change) []Change {
	list := make([]Change, len(changes))
	for i, c := range changes {
		change := Change{Change: "changed", Kind: c.Kind, Tenant: c.Tenant, ID: c.ID, Notes: c.Notes}
		switch {
		case c.Created:
			change.Change = "created"
		case c.Removed:
			change.Change = "removed"
		}
		for _, f := range c.Fields {
			field := FieldChange{Name: f.Name}
			if f.From != "" {
				field.From = json.RawMessage(f.From)
			}
			if f.To != "" {
				field.To = json.RawMessage(f.To)
			}
			change.Fields = append(change.Fields, field)
		}
		list[i] = change
	}
	return list
}

// filesIn returns a fault for each member that names a file.
func filesIn(tenants []settings.TenantSpec) (faults settings.Faults) {
	for _, t := range tenants {
		for _, client := range t.Clients {
			if client.SecretFile != "" {
				faults.Add(client.Path+".secret_file", "is not available here: send the content as secret")
			}
		}
		for _, e := range t.TrustedIssuers {
			if e.Keys.SharedSecretFile != "" {
				faults.Add(e.Path+".keys.shared_secret_file", "is not available here: send the content as shared_secret")
			}
		}
		for _, d := range t.EventDestinations {
			if d.SecretFile != "" {
				faults.Add(d.Path+".secret_file", "is not available here: send the content as secret")
			}
		}
	}
	return faults
}

// confine returns an error if a document changes more than the objects in the tenants
// of the caller's key, which does not have the role owner.
func (s *Service) confine(ctx context.Context, c *Caller, b applyBody) error {
	for i := range b.Tenants {
		t := &b.Tenants[i]
		if !c.Key.MayUse(t.ID) {
			return ErrNotFound
		}
		if err := s.tenantExists(ctx, t.ID); err != nil {
			return err
		}
		for key := range t.Written {
			if !slices.Contains([]string{"id", "clients", "trusted_issuers", "users", "event_destinations"}, key) {
				return forbidden("only a key with the role owner may change the settings of a tenant: " + t.Path + "." + key)
			}
		}
		t.Context = true
		for _, d := range t.EventDestinations {
			stored, err := s.Store.StoredDestination(ctx, t.ID, d.ID)
			if err != nil && !errors.Is(err, models.ErrNotFound) {
				return err
			}
			if d.AllowPrivateAddresses || stored != nil && stored.Row.Settings.AllowPrivateAddresses {
				return forbidden("only an owner's key may set allow_private_addresses, or change an event destination that has it: " + d.Path)
			}
		}
		for _, e := range t.TrustedIssuers {
			if e.AllowPrivateAddresses {
				return forbidden("only a key with the role owner may set allow_private_addresses: " + e.Path)
			}
			// The entry would be merged with the stored one, and the server would
			// fetch a new address without the protection that an owner has
			// disabled for another address.
			stored, err := s.Store.StoredIssuer(ctx, t.ID, e.EntryID())
			if errors.Is(err, models.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if stored.Row.Settings.AllowPrivateAddresses {
				return forbidden("only a key with the role owner may change a trusted issuer that has allow_private_addresses: " + e.Path)
			}
		}
	}
	return nil
}

// ExportOptions are the options of Export.
type ExportOptions struct {
	Tenants        []string // empty: all tenants of the key
	Users          bool     // include the users that a file or an operator has named
	ForNewDatabase bool     // put the name of a file in place of each secret
	YAML           bool
}

// mostExported is the maximum number of tenants, and of users of a tenant, in an export.
const mostExported = 10_000

// Export returns the tenants as a document that Apply accepts, without secrets.
func (s *Service) Export(ctx context.Context, c *Caller, o ExportOptions) ([]byte, error) {
	if err := c.may(admins, ""); err != nil {
		return nil, err
	}
	only := c.Key.Tenants
	if len(o.Tenants) > 0 {
		for _, id := range o.Tenants {
			if err := c.may(admins, id); err != nil {
				return nil, err
			}
		}
		only = o.Tenants
	}
	tenants, more, err := s.Store.StoredTenants(ctx, only, models.Page{Limit: mostExported})
	switch {
	case err != nil:
		return nil, err
	case more:
		return nil, invalidParameter("tenant", fmt.Sprintf("must name the tenants: there are more than %d", mostExported))
	case len(o.Tenants) > len(tenants):
		return nil, ErrNotFound
	}
	list := make([]any, len(tenants))
	for i := range tenants {
		if err := s.Store.AddAudit(ctx, models.EventConfigExported, tenants[i].Row.ID, c.Actor(), nil); err != nil {
			return nil, err
		}
		if list[i], err = s.exportTenant(ctx, &tenants[i], o); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(map[string]any{"tenants": list})
	if err != nil || !o.YAML {
		return text, err
	}
	return decode.YAMLOf(text, "id", "sub", "issuer", "name")
}

func (s *Service) exportTenant(ctx context.Context, t *models.StoredTenant, o ExportOptions) (map[string]any, error) {
	out := exported(t.Settings, t.Row.ID)
	list := []any{}
	for p, more := (models.Page{Limit: 500}), true; more; {
		var clients []models.StoredClient
		var err error
		if clients, more, err = s.Store.StoredClients(ctx, t.Row.ID, "", p); err != nil {
			return nil, err
		}
		for _, c := range clients {
			p.After = c.Row.ID
			doc := exported(c.Settings, c.Row.ID)
			if o.ForNewDatabase && c.Row.SecretDigest.Digest != nil {
				doc["secret_file"] = fmt.Sprintf("secrets/%s-%s", t.Row.ID, c.Row.ID)
			}
			list = append(list, doc)
		}
	}
	out["clients"] = list
	issuers, _, err := s.Store.StoredIssuers(ctx, t.Row.ID, models.Page{Limit: 1 << 20})
	if err != nil {
		return nil, err
	}
	list = []any{}
	for _, e := range issuers {
		doc := exported(e.Settings, e.Row.EntryID)
		if e.Row.SealedSecret != nil {
			// Without keys, applying the document keeps the stored secret.
			if delete(doc, "keys"); o.ForNewDatabase {
				doc["keys"] = map[string]any{"shared_secret_file": fmt.Sprintf("secrets/%s-%s", t.Row.ID, e.Row.EntryID)}
			}
		}
		list = append(list, doc)
	}
	out["trusted_issuers"] = list
	destinations, _, err := s.Store.StoredDestinations(ctx, t.Row.ID, models.Page{Limit: 1 << 20})
	if err != nil {
		return nil, err
	}
	list = []any{}
	for _, d := range destinations {
		doc := exported(d.Settings, d.Row.ID)
		if o.ForNewDatabase && d.Row.SealedSecret != nil {
			doc["secret_file"] = fmt.Sprintf("secrets/%s-%s", t.Row.ID, d.Row.ID)
		}
		list = append(list, doc)
	}
	if len(list) > 0 {
		out["event_destinations"] = list
	}
	if !o.Users {
		return out, nil
	}
	users, err := s.Store.NamedUsers(ctx, t.Row.ID, mostExported+1)
	if err != nil {
		return nil, err
	}
	if len(users) > mostExported {
		return nil, invalidParameter("users", fmt.Sprintf("must be left out: the tenant has more than %d users that a file or an operator named; read them with list-users", mostExported))
	}
	list = []any{}
	for _, u := range users {
		user := map[string]any{"sub": u.Sub, "attributes": u.Attributes}
		if u.Disabled {
			user["disabled"] = true
		}
		list = append(list, user)
	}
	out["users"] = list
	return out, nil
}

func exported(doc settings.Document, id string) map[string]any {
	out := map[string]any{"id": id}
	for name, value := range doc {
		out[name] = value
	}
	return out
}
