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

// StoredTenant is a tenant as an operator sees it.
type StoredTenant struct {
	Row      Tenant
	Settings settings.Document // as they were written
	Managed  bool              // the file of serve owns it
}

// Version changes whenever the tenant's own settings or its state do.
func (t *StoredTenant) Version() string { return tenantVersion(t.Row, t.Settings) }

// StoredClient is a client as an operator sees it.
type StoredClient struct {
	Row      Client
	Settings settings.Document
	Managed  bool
}

// Version changes whenever the client's settings, secrets or state do.
func (c *StoredClient) Version() string { return clientVersion(c.Row, c.Settings) }

// StoredIssuer is a trusted issuer as an operator sees it.
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

// version is a digest of parts.
func version(parts ...any) string {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(parts); err != nil {
		panic(err) // these parts are JSON
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

// Page is a part of a list that is ordered by id.
type Page struct {
	After string // the id after which it begins
	Limit int
	Match string // part of the id or of the name; empty: any
}

// cut returns at most limit items, and whether there are more.
func cut[T any](items []T, limit int) ([]T, bool) {
	return items[:min(len(items), limit)], len(items) > limit
}

// StoredTenants returns tenants by id, and whether there are more. `only` are the ids
// of those that may be seen; nil: all.
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
		managed, err := managedIDs(db, "", NounTenant)
		for i := range list {
			list[i].Managed = managed[list[i].Row.ID]
		}
		return err
	})
	list, more = cut(list, p.Limit)
	return list, more, err
}

// managedIDs returns the ids of the things of a kind that the file of serve owns, in
// one tenant or in all.
func managedIDs(db *gorm.DB, tenant, noun string) (map[string]bool, error) {
	var ids []string
	err := db.Raw("SELECT id FROM file_nouns WHERE noun = ? AND (tenant_id = ? OR ? = '')", noun, tenant, tenant).Scan(&ids).Error
	managed := map[string]bool{}
	for _, id := range ids {
		managed[id] = true
	}
	return managed, err
}

// TenantExists returns ErrNotFound unless there is a tenant with the id, which was not
// removed.
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

// StoredTenant returns one tenant. ErrNotFound: it does not exist, or was removed.
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

// StoredClients returns clients of a tenant by id, and whether there are more.
func (s *Store) StoredClients(ctx context.Context, tenant string, p Page) (list []StoredClient, more bool, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		q := db.Where("tenant_id = ? AND removed_at IS NULL AND id > ?", tenant, p.After)
		list, err = s.storedClients(q, db, tenant, p)
		return err
	})
	list, more = cut(list, p.Limit)
	return list, more, err
}

// StoredClient returns one client. ErrNotFound: the tenant has no client with the id.
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
	managed, err := managedIDs(db, tenant, NounClient)
	list := make([]StoredClient, len(rows))
	for i, row := range rows {
		list[i] = StoredClient{row, written[row.ID], managed[row.ID]}
	}
	return list, err
}

// StoredIssuers returns the trusted issuers of a tenant by the id of their entry, and
// whether there are more. A tenant has few.
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
		managed, err := managedIDs(db, tenant, NounIssuer)
		list = nil
		for _, row := range rows {
			found := p.Match == "" || strings.Contains(row.EntryID, p.Match) || strings.Contains(row.Settings.Issuer, p.Match)
			if row.EntryID > p.After && found {
				list = append(list, StoredIssuer{row, docs[row.ID], managed[row.EntryID]})
			}
		}
		return err
	})
	list, more = cut(list, p.Limit)
	return list, more, err
}

// StoredIssuer returns one trusted issuer, by the id of its entry. ErrNotFound: the
// tenant has no entry with the id.
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
