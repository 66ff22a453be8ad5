package models

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/settings"
)

// StoredTenant is a tenant for an operator: its row and its settings as written.
type StoredTenant struct {
	Row      Tenant
	Settings settings.Document // only the keys that were written, without defaults
	Managed  bool              // the file of serve owns it
}

// Version changes whenever the tenant's own settings or its state do.
func (t *StoredTenant) Version() string { return tenantVersion(t.Row, t.Settings) }

// StoredClient is a client for an operator: its row and its settings as written.
type StoredClient struct {
	Row      Client
	Settings settings.Document
	Managed  bool
}

// Version changes whenever the client's settings, secrets or state do.
func (c *StoredClient) Version() string { return clientVersion(c.Row, c.Settings) }

// StoredIssuer is a trusted issuer for an operator: its row and its settings as
// written.
type StoredIssuer struct {
	Row      TrustedIssuer
	Settings settings.Document
	Managed  bool
}

// Version changes whenever the entry's settings, secret or state do.
func (i *StoredIssuer) Version() string { return issuerVersion(i.Row, i.Settings) }

func tenantVersion(row Tenant, doc settings.Document) string {
	return version(doc.WithoutNull(), row.SuspendedAt)
}

func clientVersion(row Client, doc settings.Document) string {
	return version(doc.WithoutNull(), row.SuspendedAt, row.SecretDigest.Digest != nil, row.PreviousDigest.Digest != nil, row.PreviousUntil, row.UpdatedAt)
}

func issuerVersion(row TrustedIssuer, doc settings.Document) string {
	return version(doc.WithoutNull(), row.SuspendedAt, row.SealedSecret != nil, row.UpdatedAt)
}

func userVersion(u *User) string {
	return version(u.Attributes, u.Sources, u.Disabled, u.Suspended)
}

// version returns a digest of the parts.
func version(parts ...any) string {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(parts); err != nil {
		panic(err) // these parts are JSON
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

// Page selects a page of a list that is ordered by id.
type Page struct {
	After string // the last id of the previous page; empty: the first page
	Limit int
	Match string // part of the id or of the name; empty: every item
}

// truncate returns at most limit items, and reports whether there are more.
func truncate[T any](items []T, limit int) ([]T, bool) {
	return items[:min(len(items), limit)], len(items) > limit
}

// StoredTenants returns a page of tenants, and reports whether there are more. `only`
// lists the ids that may be returned; nil means all.
func (s *Store) StoredTenants(ctx context.Context, only []string, p Page) (list []StoredTenant, more bool, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		q := db.Where("pruned_at IS NULL AND id > ?", p.After).Order("id").Limit(p.Limit + 1)
		if only != nil {
			q = q.Where("id IN ?", only)
		}
		if p.Match != "" {
			q = q.Where("id LIKE ? ESCAPE '!'", "%"+escapeLike(p.Match)+"%")
		}
		var rows []Tenant
		if err := q.Find(&rows).Error; err != nil {
			return err
		}
		list = nil
		for _, row := range rows {
			doc, err := row.document()
			if err != nil {
				return err
			}
			list = append(list, StoredTenant{Row: row, Settings: doc})
		}
		managed, err := managedIDs(db, "", KindTenant)
		for i := range list {
			list[i].Managed = managed[list[i].Row.ID]
		}
		return err
	})
	list, more = truncate(list, p.Limit)
	return list, more, err
}

// managedIDs returns the ids of the objects of a kind that the file of serve owns, in
// one tenant or, if tenant is empty, in all.
func managedIDs(db *gorm.DB, tenant, kind string) (map[string]bool, error) {
	var ids []string
	err := db.Raw("SELECT id FROM file_nouns WHERE noun = ? AND (tenant_id = ? OR ? = '')", kind, tenant, tenant).Scan(&ids).Error
	managed := map[string]bool{}
	for _, id := range ids {
		managed[id] = true
	}
	return managed, err
}

// TenantExists returns ErrNotFound if there is no such tenant, or if it was removed.
func (s *Store) TenantExists(ctx context.Context, id string) error {
	return s.query(ctx, func(db *gorm.DB) error {
		var n int
		err := db.Raw("SELECT count(*) FROM tenants WHERE id = ? AND pruned_at IS NULL", id).Row().Scan(&n)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
}

// StoredTenant returns a tenant. It returns ErrNotFound if there is none, or if it was
// removed.
func (s *Store) StoredTenant(ctx context.Context, id string) (*StoredTenant, error) {
	list, _, err := s.StoredTenants(ctx, []string{id}, Page{Limit: 1})
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// ClientState is whether a client can be used, and if not, why.
type ClientState string

// ClientStates lists the states. A client that is disabled and suspended is suspended.
var ClientStates = []ClientState{"enabled", "disabled", "suspended"}

// StoredClients returns a page of a tenant's clients that are in a state, and reports
// whether there are more. An empty state means any.
func (s *Store) StoredClients(ctx context.Context, tenant string, state ClientState, p Page) (list []StoredClient, more bool, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		q := db.Where("tenant_id = ? AND removed_at IS NULL AND id > ?", tenant, p.After)
		switch state {
		case "enabled":
			q = q.Where("NOT disabled AND suspended_at IS NULL")
		case "disabled":
			q = q.Where("disabled AND suspended_at IS NULL")
		case "suspended":
			q = q.Where("suspended_at IS NOT NULL")
		}
		list, err = s.storedClients(q, db, tenant, p)
		return err
	})
	list, more = truncate(list, p.Limit)
	return list, more, err
}

// StoredClient returns a client, or ErrNotFound.
func (s *Store) StoredClient(ctx context.Context, tenant, id string) (*StoredClient, error) {
	var list []StoredClient
	err := s.query(ctx, func(db *gorm.DB) (err error) {
		list, err = s.storedClients(db.Where("tenant_id = ? AND removed_at IS NULL AND id = ?", tenant, id), db, tenant, Page{Limit: 1})
		if err == nil && len(list) == 0 {
			err = ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

func (s *Store) storedClients(q, db *gorm.DB, tenant string, p Page) ([]StoredClient, error) {
	if p.Match != "" {
		like := "%" + escapeLike(strings.ToLower(p.Match)) + "%"
		q = q.Where("(lower(id) LIKE ? ESCAPE '!' OR lower("+s.dialect.jsonName+") LIKE ? ESCAPE '!')", like, like)
	}
	var rows []Client
	if err := q.Order("id").Limit(p.Limit + 1).Find(&rows).Error; err != nil || len(rows) == 0 {
		return nil, err
	}
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	var docs []struct {
		ID       string
		Settings settings.Document `gorm:"serializer:json"`
	}
	if err := db.Table("clients").Select("id", "settings").Where("tenant_id = ? AND id IN ?", tenant, ids).Find(&docs).Error; err != nil {
		return nil, err
	}
	written := map[string]settings.Document{}
	for _, doc := range docs {
		written[doc.ID] = doc.Settings.WithoutNull()
	}
	managed, err := managedIDs(db, tenant, KindClient)
	list := make([]StoredClient, len(rows))
	for i, row := range rows {
		list[i] = StoredClient{row, written[row.ID], managed[row.ID]}
	}
	return list, err
}

// StoredIssuers returns a page of a tenant's trusted issuers, ordered by the ids of
// their entries, and reports whether there are more. It reads all of them for each
// page: a tenant has few.
func (s *Store) StoredIssuers(ctx context.Context, tenant string, p Page) (list []StoredIssuer, more bool, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		rows, err := (&applier{tx: db, store: s}).allEntries(tenant)
		if err != nil {
			return err
		}
		slices.SortFunc(rows, func(a, b TrustedIssuer) int { return strings.Compare(a.EntryID, b.EntryID) })
		docs, err := (&applier{tx: db}).documents("trusted_issuers", tenant)
		if err != nil {
			return err
		}
		managed, err := managedIDs(db, tenant, KindIssuer)
		list = nil
		for _, row := range rows {
			found := p.Match == "" || strings.Contains(row.EntryID, p.Match) || strings.Contains(row.Settings.Issuer, p.Match)
			if row.EntryID > p.After && found {
				list = append(list, StoredIssuer{row, docs[row.ID], managed[row.EntryID]})
			}
		}
		return err
	})
	list, more = truncate(list, p.Limit)
	return list, more, err
}

// StoredIssuer returns the trusted issuer whose entry has the id, or ErrNotFound.
func (s *Store) StoredIssuer(ctx context.Context, tenant, entry string) (*StoredIssuer, error) {
	list, _, err := s.StoredIssuers(ctx, tenant, Page{Limit: 1 << 20})
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(list, func(i StoredIssuer) bool { return i.Row.EntryID == entry })
	if at < 0 {
		return nil, ErrNotFound
	}
	return &list[at], nil
}
