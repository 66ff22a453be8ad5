package models

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// The kinds of object that can be suspended.
const (
	KindTenant = "tenant"
	KindClient = "client"
	KindIssuer = "issuer"
	KindUser   = "user"
)

// Kinds lists the kinds of object that can be suspended.
var Kinds = []string{KindTenant, KindClient, KindIssuer, KindUser}

// Ref identifies a tenant or an object in one. An issuer is identified by the
// id of its entry, or by its URL, which refers to every entry that has it.
type Ref struct {
	Kind   string
	Tenant string
	ID     string // equals Tenant for a tenant
}

// Role is the role of an admin key. Nobody can resume what a higher role has
// suspended.
type Role string

// The roles, from the lowest to the highest. RoleMachine is whoever runs the
// latchkey command on a server.
const (
	RoleViewer  Role = "viewer"
	RoleSupport Role = "support"
	RoleAdmin   Role = "admin"
	RoleOwner   Role = "owner"
	RoleMachine Role = "machine"
)

// RoleClient is the role of a client that manages its own event streams. No admin key
// has it.
const RoleClient Role = "client"

// mayResume reports whether r may lift a suspension by the role `by`.
func (r Role) mayResume(by Role) bool { return r.rank() >= by.rank() }

// rank orders the roles. Owner and machine have the same rank. A later release
// may have stored a role that this one does not know: it has the same rank too,
// so that only an owner and the machine can resume.
func (r Role) rank() int {
	switch r {
	case RoleViewer:
		return 0
	case RoleSupport:
		return 1
	case RoleAdmin:
		return 2
	default:
		return 3
	}
}

// Suspension is the record of a suspended object. For a user it stores only a
// keyed digest, so that it can outlive a user who was deleted.
type Suspension struct {
	TenantID    string
	Kind        string `gorm:"column:noun"`
	IDDigest    []byte
	SuspendedAt Time
	SuspendedBy string // empty: unknown
	Role        Role
	Reason      string
	Name        string // the id or URL that was suspended; empty for a user
	Follows     []byte // set if the entry's URL was suspended and has changed since: the digest of that URL

	ID         string   `gorm:"-"` // resume takes it; empty for a user who does not exist
	Exists     bool     `gorm:"-"` // it suspends an existing row
	Entries    []string `gorm:"-"` // ids of the trusted issuers that it suspends
	FollowsURL string   `gorm:"-"` // the URL of Follows
	place      []byte   // in a list: the digest of ID
}

// Errors of suspending and resuming.
var (
	ErrNotSuspended  = errors.New("it is not suspended")
	ErrMayNotResume  = errors.New("it was suspended by a higher role")
	ErrTenantRemoved = errors.New("the tenant was removed, and its id is never used again")
	ErrOtherName     = errors.New("it is suspended under another name")
)

// Suspended is the result of Suspend and Resume.
type Suspended struct {
	Suspension
	Already bool // it was suspended before and stays suspended
	Exists  bool // a tenant, client, issuer or user with this id exists

	// Resume sets StaysOff if another suspension keeps the object suspended,
	// and Followed if the lifted suspension followed another, which remains.
	StaysOff, Followed *Suspension
}

// SuspensionSecrets seals the key of the digests by which suspensions identify
// ids.
type SuspensionSecrets interface {
	SealSuspensionKey(key []byte) (sealed []byte, rootVersion int64)
	OpenSuspensionKey(sealed []byte, rootVersion int64) (key []byte, err error)
}

// Suspend suspends a tenant, client, issuer or user, regardless of its
// configuration, and ends its sessions as disabling does. An id that does not
// exist yet can be suspended too: an object that is created with it later is
// suspended from the start.
func (s *Store) Suspend(ctx context.Context, secrets SuspensionSecrets, ref Ref, by Actor, reason string) (*Suspended, error) {
	key, err := s.SuspensionKey(ctx, secrets)
	if err != nil {
		return nil, err
	}
	var done *Suspended
	err = s.longTransaction(ctx, func(tx *gorm.DB) error {
		done = &Suspended{}
		return s.withTenantLocked(tx, ref.Tenant, func(a *applier, exists bool) (err error) {
			done.Suspension = Suspension{
				TenantID: ref.Tenant, Kind: ref.Kind, IDDigest: key.digest(ref), ID: ref.ID,
				SuspendedAt: At(a.now), SuspendedBy: by.Name, Role: by.Role, Reason: reason,
			}
			if ref.Kind != KindUser {
				done.Name = ref.ID
			}
			if done.Already, err = a.recordSuspension(&done.Suspension); err != nil {
				return err
			}
			if done.Exists, err = a.suspendRows(ref, done.SuspendedAt, exists); err != nil {
				return err
			}
			return s.auditSuspension(tx, by, ref, "suspended", reason, done.Exists)
		})
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// auditSuspension writes the event of a suspension or of its end. It does not
// name a user who does not exist: that user may have been deleted.
func (s *Store) auditSuspension(tx *gorm.DB, by Actor, ref Ref, act, reason string, exists bool) error {
	if ref.Kind == KindUser && !exists {
		ref.ID = ""
	}
	return s.audit(tx, by, Change{Act: act, Tenant: ref.Tenant, Kind: ref.Kind, ID: ref.ID, Reason: reason})
}

// withTenantLocked runs fn with the tenant's row locked, so that no change of the
// configuration runs at the same time. If there is no such tenant, it locks the
// id by inserting a row, and deletes the row afterwards.
func (s *Store) withTenantLocked(tx *gorm.DB, tenant string, fn func(a *applier, exists bool) error) error {
	a := &applier{tx: tx, store: s}
	row, created, err := lockTenant(tx, tenant, s.Now())
	if err != nil {
		return err
	}
	if !row.PrunedAt.IsZero() {
		return ErrTenantRemoved
	}
	a.now = s.Now() // after the wait for the lock
	if err := fn(a, !created); err != nil {
		return err
	}
	if created {
		return tx.Exec("DELETE FROM tenants WHERE id = ?", tenant).Error
	}
	return a.writeEvents()
}

// recordSuspension writes the record. An existing record keeps its time. It also
// keeps its role and its reason, unless a higher role suspends the object again:
// then nobody below that role may resume it or the records that follow it.
func (a *applier) recordSuspension(want *Suspension) (already bool, err error) {
	before, err := a.suspension(want.TenantID, want.Kind, want.IDDigest)
	if err != nil {
		return false, err
	}
	if before == nil {
		return false, a.insertSuspension(want)
	}
	id := want.ID
	if want.Role.rank() > before.Role.rank() {
		before.SuspendedBy, before.Role = want.SuspendedBy, want.Role
		if want.Reason != "" {
			before.Reason = want.Reason
		}
		err = a.tx.Exec("UPDATE suspensions SET suspended_by = ?, role = ?, reason = ? WHERE tenant_id = ? AND noun = ? AND (id_digest = ? OR follows = ?)",
			before.SuspendedBy, before.Role, before.Reason, want.TenantID, want.Kind, want.IDDigest, want.IDDigest).Error
	}
	if err == nil && before.Follows != nil { // it is now suspended itself
		before.Follows = nil
		err = a.tx.Exec("UPDATE suspensions SET follows = NULL WHERE tenant_id = ? AND noun = ? AND id_digest = ?", want.TenantID, want.Kind, want.IDDigest).Error
	}
	*want = *before
	want.ID = id
	return true, err
}

func (a *applier) insertSuspension(s *Suspension) error {
	return a.tx.Exec(`INSERT INTO suspensions (tenant_id, noun, id_digest, suspended_at, suspended_by, role, reason, name, follows)
		VALUES (@TenantID, @Kind, @IDDigest, @SuspendedAt, @SuspendedBy, @Role, @Reason, @Name, @Follows)`, s).Error
}

// suspension finds a record; it returns nil if there is none.
func (a *applier) suspension(tenant, kind string, digest []byte) (*Suspension, error) {
	var found []Suspension
	err := a.tx.Raw("SELECT * FROM suspensions WHERE tenant_id = ? AND noun = ? AND id_digest = ?", tenant, kind, digest).Scan(&found).Error
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// suspendRows suspends the rows that ref identifies and reports whether there
// are any.
func (a *applier) suspendRows(ref Ref, at Time, tenantExists bool) (exists bool, err error) {
	switch ref.Kind {
	case KindTenant:
		return tenantExists, a.suspendRow(ref, "tenants", "id = ?", []any{ref.Tenant}, at, EventTenantSuspended, Event{})
	case KindClient:
		where := "tenant_id = ? AND id = ? AND removed_at IS NULL"
		if exists, err = a.rowExists("clients", where, ref.Tenant, ref.ID); err != nil || !exists {
			return false, err
		}
		return true, a.suspendRow(ref, "clients", where, []any{ref.Tenant, ref.ID}, at, EventClientSuspended, Event{ClientID: ref.ID})
	case KindIssuer:
		entries, err := a.entries(ref)
		for _, e := range entries {
			if err == nil {
				err = a.suspendRow(ref, "trusted_issuers", "tenant_id = ? AND id = ?", []any{e.TenantID, e.ID}, at, EventIssuerSuspended, issuerEvent(e.ID, e.Settings.Issuer))
			}
		}
		return len(entries) > 0, err
	case KindUser:
		return a.suspendUser(ref, at)
	default:
		return false, fmt.Errorf("suspend: unknown kind %q", ref.Kind)
	}
}

func (a *applier) rowExists(table, where string, args ...any) (bool, error) {
	var n int
	err := a.tx.Raw("SELECT count(*) FROM "+table+" WHERE "+where, args...).Row().Scan(&n)
	return n > 0, err
}

// suspendRow suspends a row that is not suspended yet. From now on, its sessions
// are rejected; the sweep ends their rows later. One event covers them all.
func (a *applier) suspendRow(ref Ref, table, where string, args []any, at Time, what EventType, e Event) error {
	done := a.tx.Exec("UPDATE "+table+" SET suspended_at = ?, sessions_valid_from = ?, updated_at = ? WHERE "+where+" AND suspended_at IS NULL",
		append([]any{at, At(a.now), At(a.now)}, args...)...)
	if done.Error != nil {
		return done.Error
	}
	if done.RowsAffected == 0 {
		if ref.Kind == KindIssuer { // two records may suspend it
			return nil
		}
		return a.dateSuspension(table, where, args, at)
	}
	a.addEvent(ref.Tenant, what, e)
	return touchTenant(a.tx, ref.Tenant, a.now)
}

// dateSuspension gives a row the time of its record, by which ListSuspensions finds it. A
// row that an earlier release suspended without a record has another time.
func (a *applier) dateSuspension(table, where string, args []any, at Time) error {
	return a.tx.Exec("UPDATE "+table+" SET suspended_at = ? WHERE "+where+" AND suspended_at IS NOT NULL AND suspended_at <> ?",
		append(append([]any{at}, args...), at)...).Error
}

// entries returns the issuer entries that ref identifies.
func (a *applier) entries(ref Ref) (named []TrustedIssuer, err error) {
	rows, err := a.allEntries(ref.Tenant)
	for _, row := range rows {
		if row.named(ref.ID) {
			named = append(named, row)
		}
	}
	return named, err
}

// allEntries returns the issuer entries of a tenant, each with its id.
func (a *applier) allEntries(tenant string) (rows []TrustedIssuer, err error) {
	err = a.tx.Where("tenant_id = ? AND removed_at IS NULL", tenant).Order("created_at, id").Find(&rows).Error
	nameEntries(rows)
	return rows, err
}

// names returns the names by which the entry can be suspended.
func (i *TrustedIssuer) names() []string { return []string{i.EntryID, i.Settings.Issuer} }

func (i *TrustedIssuer) named(id string) bool { return slices.Contains(i.names(), id) }

// keepSuspendedOnRename keeps an entry suspended if its URL is suspended and is
// about to change: it adds a suspension of the entry's id, which follows the
// suspension of the URL.
func (a *applier) keepSuspendedOnRename(row *TrustedIssuer) error {
	if row.SuspendedAt.IsZero() {
		return nil
	}
	key, err := a.store.existingSuspensionKey(a.tx, a.secrets)
	if err != nil || key == nil {
		return err
	}
	byURL, err := a.suspension(row.TenantID, KindIssuer, key.digest(Ref{KindIssuer, row.TenantID, row.Settings.Issuer}))
	if err != nil || byURL == nil {
		return err
	}
	follower := *byURL
	follower.IDDigest, follower.Name, follower.Follows = key.digest(Ref{KindIssuer, row.TenantID, row.EntryID}), row.EntryID, byURL.IDDigest
	byID, err := a.suspension(row.TenantID, KindIssuer, follower.IDDigest)
	if err != nil || byID != nil {
		return err
	}
	return a.insertSuspension(&follower)
}

// suspendUser suspends a user and ends their sessions at once. A first sign-in
// may be creating the user's row at the same time: inserting its key waits for
// that, and a sign-in that begins later finds the record.
func (a *applier) suspendUser(ref Ref, at Time) (exists bool, err error) {
	made := a.tx.Exec(`INSERT INTO users (tenant_id, sub, attributes, disabled, created_at, updated_at)
		VALUES (?, ?, '{}', ?, ?, ?) ON CONFLICT DO NOTHING`, ref.Tenant, ref.ID, false, At(a.now), At(a.now))
	if made.Error != nil {
		return false, made.Error
	}
	if made.RowsAffected == 1 {
		return false, a.tx.Exec("DELETE FROM users WHERE tenant_id = ? AND sub = ?", ref.Tenant, ref.ID).Error
	}
	done := a.tx.Exec("UPDATE users SET suspended_at = ?, updated_at = ? WHERE tenant_id = ? AND sub = ? AND suspended_at IS NULL",
		at, At(a.now), ref.Tenant, ref.ID)
	if done.Error != nil {
		return true, done.Error
	}
	if done.RowsAffected == 0 {
		return true, a.dateSuspension("users", "tenant_id = ? AND sub = ?", []any{ref.Tenant, ref.ID}, at)
	}
	names, err := endUserSessions(a.tx, ref.Tenant, ref.ID, a.now, session.UserDisabled)
	if err != nil {
		return true, err
	}
	a.addEvent(ref.Tenant, EventUserSuspended, Event{Subject: ref.ID, Details: map[string]any{"audience": names}})
	return true, nil
}

// enforceSuspensions suspends the objects that were created with a suspended id.
// The tenants are locked, so that no suspension is missed.
func (a *applier) enforceSuspensions(secrets SuspensionSecrets, wanted []settings.TenantSpec) error {
	key, err := a.store.existingSuspensionKey(a.tx, secrets)
	if err != nil || key == nil {
		return err
	}
	for _, t := range wanted {
		var records []Suspension
		if err := a.tx.Raw("SELECT * FROM suspensions WHERE tenant_id = ?", t.ID).Scan(&records).Error; err != nil {
			return err
		}
		for _, r := range records {
			if err := a.enforceSuspension(key, t, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *applier) enforceSuspension(key SuspensionKey, t settings.TenantSpec, r Suspension) error {
	candidates := []string{}
	switch r.Kind {
	case KindTenant:
		candidates = append(candidates, t.ID)
	case KindClient:
		for _, c := range t.Clients {
			candidates = append(candidates, c.ID)
		}
	case KindUser:
		for _, u := range t.Users {
			candidates = append(candidates, u.Sub)
		}
	case KindIssuer:
		rows, err := a.allEntries(t.ID)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if row.SuspendedAt.IsZero() {
				candidates = append(candidates, row.names()...)
			}
		}
	}
	for _, id := range candidates {
		ref := Ref{r.Kind, t.ID, id}
		if hmac.Equal(key.digest(ref), r.IDDigest) {
			if _, err := a.suspendRows(ref, r.SuspendedAt, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// SuspensionKey is the key of the digests by which suspensions identify ids.
// Without the key, the table does not reveal whether a given user was suspended.
type SuspensionKey []byte

func (k SuspensionKey) digest(ref Ref) []byte {
	h := hmac.New(sha256.New, k)
	for _, part := range []string{ref.Tenant, ref.Kind, ref.ID} {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:])
	}
	return h.Sum(nil)
}

// SuspensionKey reads the key, and creates it the first time.
func (s *Store) SuspensionKey(ctx context.Context, secrets SuspensionSecrets) (SuspensionKey, error) {
	if key := s.suspensions.Load(); key != nil {
		return *key, nil
	}
	var key SuspensionKey
	err := s.query(ctx, func(db *gorm.DB) (err error) {
		key, err = s.existingSuspensionKey(db, secrets)
		return err
	})
	if err != nil || key != nil {
		return key, err
	}
	fresh := make([]byte, sha256.Size)
	rand.Read(fresh)
	sealed, version := secrets.SealSuspensionKey(fresh)
	err = s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("INSERT INTO suspension_keys (id, sealed, root_version) VALUES (1, ?, ?) ON CONFLICT DO NOTHING", sealed, version).Error
	})
	if err != nil {
		return nil, err
	}
	err = s.query(ctx, func(db *gorm.DB) (err error) { // another node may have been first
		key, err = s.existingSuspensionKey(db, secrets)
		return err
	})
	return key, err
}

// existingSuspensionKey reads the key; it returns nil if nothing was ever
// suspended.
func (s *Store) existingSuspensionKey(db *gorm.DB, secrets SuspensionSecrets) (SuspensionKey, error) {
	if key := s.suspensions.Load(); key != nil {
		return *key, nil
	}
	var sealed []byte
	var version int64
	err := db.Raw("SELECT sealed, root_version FROM suspension_keys").Row().Scan(&sealed, &version)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	opened, err := secrets.OpenSuspensionKey(sealed, version)
	if err != nil {
		return nil, err
	}
	key := SuspensionKey(opened)
	s.suspensions.Store(&key)
	return key, nil
}

// UserDigest returns the digest by which a suspension identifies a user.
func (k SuspensionKey) UserDigest(tenant, sub string) []byte {
	return k.digest(Ref{KindUser, tenant, sub})
}

// suspendedUser is a query for the suspension of a user; its parameters are the
// tenant, KindUser and the digest.
const suspendedUser = "SELECT 1 FROM suspensions WHERE tenant_id = ? AND noun = ? AND id_digest = ?"

// String returns the time, the author and the reason of the suspension, for an
// operator.
func (s Suspension) String() string {
	text := "suspended since " + s.SuspendedAt.Format(time.RFC3339)
	if s.SuspendedBy != "" {
		text += " by " + s.SuspendedBy
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	return text
}
