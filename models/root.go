package models

import (
	"context"
	"strings"
	"time"

	"gorm.io/gorm"
)

// RootUse counts what one root secret is still needed for.
type RootUse struct {
	RootVersion        int64
	SigningKeys        int
	SuspensionKeys     int // of the digests by which suspensions identify ids
	AdminKeys          int // that can be used
	SharedSecrets      int // of trusted issuers
	DestinationSecrets int // of event destinations
	ClientSecrets      int // including previous ones
	Sessions           int // with a refresh token
	UsedTokens         int // refresh tokens of an earlier root whose lost response may still be repeated
	SessionTokens      int
	LastSession        Time // when the last of these sessions ends
}

// rootUses lists where root versions are stored and which rows of each count.
// An absent secret is NULL or empty, depending on the engine.
var rootUses = []struct {
	table, column, live string
	count               func(*RootUse) *int
	sessions            bool
}{
	{"signing_keys", "root_version", "retired_at IS NULL", func(u *RootUse) *int { return &u.SigningKeys }, false},
	{"suspension_keys", "root_version", "id = 1", func(u *RootUse) *int { return &u.SuspensionKeys }, false},
	{"admin_keys", "root_version", "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)", func(u *RootUse) *int { return &u.AdminKeys }, false},
	{"trusted_issuers", "root_version", "length(sealed_secret) > 0", func(u *RootUse) *int { return &u.SharedSecrets }, false},
	{"event_destinations", "root_version", "length(sealed_secret) > 0", func(u *RootUse) *int { return &u.DestinationSecrets }, false},
	{"event_destinations", "old_root", "length(sealed_old) > 0 AND old_until > ?", func(u *RootUse) *int { return &u.DestinationSecrets }, false},
	{"clients", "secret_root_version", "length(secret_digest) > 0", func(u *RootUse) *int { return &u.ClientSecrets }, false},
	{"clients", "previous_secret_root_version", "length(previous_secret_digest) > 0 AND (previous_secret_until IS NULL OR previous_secret_until > ?)", func(u *RootUse) *int { return &u.ClientSecrets }, false},
	{"sessions", "root_version", "length(refresh_digest) > 0", func(u *RootUse) *int { return &u.Sessions }, true},
	{"sessions", "previous_root_version", "length(refresh_digest) > 0 AND previous_root_version <> root_version", func(u *RootUse) *int { return &u.UsedTokens }, true},
	{"sessions", "session_token_root_version", "length(session_token_digest) > 0", func(u *RootUse) *int { return &u.SessionTokens }, true},
}

// RootUses counts what depends on each root secret. It reads the whole table of
// sessions.
func (s *Store) RootUses(ctx context.Context, now time.Time) (map[int64]*RootUse, error) {
	uses := map[int64]*RootUse{}
	for _, in := range rootUses {
		statement, args := "SELECT "+in.column+" AS version, count(*) AS n, 0 AS last FROM "+in.table+" WHERE "+in.live, []any(nil)
		if strings.Contains(in.live, "?") {
			args = []any{At(now)}
		}
		if in.sessions {
			statement = "SELECT " + in.column + " AS version, count(*) AS n, max(absolute_expires_at) AS last FROM sessions WHERE " + in.live +
				" AND ended_at IS NULL AND absolute_expires_at > ? AND (idle_expires_at IS NULL OR idle_expires_at > ?)"
			args = []any{At(now), At(now)}
		}
		var found []struct {
			Version int64
			N       int
			Last    Time
		}
		err := s.longQuery(ctx, func(db *gorm.DB) error {
			return db.Raw(statement+" GROUP BY "+in.column, args...).Scan(&found).Error
		})
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			u := uses[f.Version]
			if u == nil {
				u = &RootUse{RootVersion: f.Version}
				uses[f.Version] = u
			}
			*in.count(u) += f.N
			if f.Last.After(u.LastSession.Time) {
				u.LastSession = f.Last
			}
		}
	}
	return uses, nil
}

// IssueUnder records that a root secret issues, the first time that it does.
// From then on, rows move to it from earlier ones and never back, because
// during a rollout some nodes still issue under the previous one.
func (s *Store) IssueUnder(ctx context.Context, version int64, now time.Time) error {
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("INSERT INTO roots (version, issues_since) VALUES (?, ?) ON CONFLICT DO NOTHING", version, At(now)).Error
	})
}

// RootsInOrder returns since when each root has been issuing.
func (s *Store) RootsInOrder(ctx context.Context) (since map[int64]time.Time, err error) {
	var roots []struct {
		Version     int64
		IssuesSince Time
	}
	err = s.query(ctx, func(db *gorm.DB) error { return db.Raw("SELECT version, issues_since FROM roots").Scan(&roots).Error })
	since = map[int64]time.Time{}
	for _, r := range roots {
		since[r.Version] = r.IssuesSince.Time
	}
	return since, err
}

// underEarlierRoot is the condition that the root in column is earlier than the
// root that is its parameter.
func underEarlierRoot(column string) string {
	return ` AND EXISTS (SELECT 1 FROM roots later WHERE later.version = ? AND NOT EXISTS (
		SELECT 1 FROM roots r WHERE r.version = ` + column + ` AND r.issues_since >= later.issues_since))`
}

// SealingRoots lists the root versions under which signing keys in service are
// sealed.
func (s *Store) SealingRoots(ctx context.Context) ([]int64, error) {
	var versions []int64
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT DISTINCT root_version FROM signing_keys WHERE retired_at IS NULL").Scan(&versions).Error
	})
	return versions, err
}

// ClientsUnderRoot lists at most 20 clients, as tenant/client, whose secret is
// digested under the root.
func (s *Store) ClientsUnderRoot(ctx context.Context, version int64) ([]string, error) {
	var ids []string
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw(`SELECT tenant_id || '/' || id FROM clients WHERE length(secret_digest) > 0 AND secret_root_version = ?
			OR length(previous_secret_digest) > 0 AND previous_secret_root_version = ? AND (previous_secret_until IS NULL OR previous_secret_until > ?)
			ORDER BY tenant_id, id LIMIT 20`, version, version, At(s.Now())).Scan(&ids).Error
	})
	return ids, err
}

// Reseal seals under the given root what is sealed under an earlier one: at
// most 100 signing keys and as many shared secrets. key and secret return nil
// for what they cannot open, which stays as it is. Nodes keep what they hold in
// memory, so they have to read nothing again.
func (s *Store) Reseal(ctx context.Context, version int64, key func(SigningKey) []byte, secret func(TrustedIssuer) []byte) error {
	var keys []SigningKey
	var issuers []TrustedIssuer
	err := s.query(ctx, func(db *gorm.DB) error {
		if err := db.Where("root_version <> ? AND retired_at IS NULL"+underEarlierRoot("root_version"), version, version).Limit(100).Find(&keys).Error; err != nil {
			return err
		}
		return db.Where("root_version <> ? AND length(sealed_secret) > 0"+underEarlierRoot("root_version"), version, version).Limit(100).Find(&issuers).Error
	})
	if err != nil {
		return err
	}
	for _, k := range keys {
		if sealed := key(k); sealed != nil {
			err = s.exec(ctx, func(db *gorm.DB) error {
				return db.Exec("UPDATE signing_keys SET sealed = ?, root_version = ? WHERE tenant_id = ? AND kid = ? AND sealed = ? AND retired_at IS NULL",
					sealed, version, k.TenantID, k.Kid, k.Sealed).Error
			})
		}
		if err != nil {
			return err
		}
	}
	for _, i := range issuers {
		if sealed := secret(i); sealed != nil {
			err = s.exec(ctx, func(db *gorm.DB) error {
				return db.Exec("UPDATE trusted_issuers SET sealed_secret = ?, root_version = ? WHERE tenant_id = ? AND id = ? AND sealed_secret = ?",
					sealed, version, i.TenantID, i.ID, i.SealedSecret).Error
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ResealSuspensionKey seals the key of suspensions under the given root if it
// is sealed under an earlier one that can be opened.
func (s *Store) ResealSuspensionKey(ctx context.Context, secrets SuspensionSecrets, version int64) error {
	var stale []struct {
		Sealed      []byte
		RootVersion int64
	}
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT sealed, root_version FROM suspension_keys WHERE root_version <> ?"+underEarlierRoot("root_version"), version, version).Scan(&stale).Error
	})
	for _, k := range stale {
		key, cannotOpen := secrets.OpenSuspensionKey(k.Sealed, k.RootVersion)
		if err != nil || cannotOpen != nil {
			continue
		}
		sealed, under := secrets.SealSuspensionKey(key)
		err = s.exec(ctx, func(db *gorm.DB) error {
			return db.Exec("UPDATE suspension_keys SET sealed = ?, root_version = ? WHERE sealed = ?", sealed, under, k.Sealed).Error
		})
	}
	return err
}

// RenewClientSecret digests a client's secret under a later root if the row
// still has the old digest, as the secret or as the previous one.
func (s *Store) RenewClientSecret(ctx context.Context, tenant, client string, old, renewed Digest) error {
	return s.exec(ctx, func(db *gorm.DB) error { return renewClientSecret(db, tenant, client, old, renewed) })
}

func renewClientSecret(db *gorm.DB, tenant, client string, old, renewed Digest) error {
	for _, column := range []string{"secret", "previous_secret"} {
		err := db.Exec("UPDATE clients SET "+column+"_digest = ?, "+column+"_root_version = ? WHERE tenant_id = ? AND id = ? AND "+column+"_digest = ?"+underEarlierRoot(column+"_root_version"),
			renewed.Digest, renewed.RootVersion, tenant, client, old.Digest, renewed.RootVersion).Error
		if err != nil {
			return err
		}
	}
	return nil
}

// RenewSessionToken digests a session's token under a later root if the row
// still has the old digest.
func (s *Store) RenewSessionToken(ctx context.Context, id SessionID, old []byte, renewed Chain) error {
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec(`UPDATE sessions SET session_token_digest = ?, session_token_next_digest = ?, session_token_root_version = ?
			WHERE id = ? AND session_token_digest = ?`+underEarlierRoot("session_token_root_version"),
			renewed.Digest, renewed.Next, renewed.RootVersion, id, old, renewed.RootVersion).Error
	})
}
