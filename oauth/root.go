package oauth

import (
	"context"
	"fmt"
	"slices"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
)

// A root secret is replaced in two roll-outs: in the first, every node accepts
// the new one; in the second, the new one issues. What needs the old one moves
// to the new one automatically: refresh tokens when they are refreshed, client
// secrets and session tokens when they are used, and sealed values in the
// background.

// RootStatus describes the role of a root secret in this configuration, and
// what still needs it.
type RootStatus struct {
	models.RootUse
	Fingerprint string
	Issues      bool // new tokens, digests and sealed values use it
	Accepted    bool // it is in the configuration
	Upcoming    bool // it has not issued yet, or started after the one that issues here: values move to it
	Clients     []string
}

// Needed reports whether something would be lost without the root secret.
func (r RootStatus) Needed() bool {
	return r.SigningKeys+r.SuspensionKeys+r.AdminKeys+r.SharedSecrets+r.ClientSecrets+r.Sessions+r.UsedTokens+r.SessionTokens > 0
}

// SecretStatus returns the configured root secrets, the issuing one first, and
// those that something in the database still needs.
func (s *Server) SecretStatus(ctx context.Context) ([]RootStatus, error) {
	uses, err := s.store.RootUses(ctx, s.now())
	if err != nil {
		return nil, err
	}
	for _, version := range s.keys.Versions() {
		if uses[int64(version)] == nil {
			uses[int64(version)] = &models.RootUse{RootVersion: int64(version)}
		}
	}
	since, err := s.store.RootsInOrder(ctx)
	if err != nil {
		return nil, err
	}
	issuing := since[int64(s.keys.Issuing())]
	var list []RootStatus
	for version, use := range uses {
		r := RootStatus{
			RootUse: *use, Fingerprint: fmt.Sprintf("%08x", version),
			Issues: version == int64(s.keys.Issuing()), Accepted: s.keys.Accepts(version),
		}
		r.Upcoming = !r.Issues && (since[version].IsZero() && !r.Needed() || since[version].After(issuing))
		if r.ClientSecrets > 0 && !r.Issues {
			if r.Clients, err = s.store.ClientsUnderRoot(ctx, version); err != nil {
				return nil, err
			}
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b RootStatus) int {
		switch {
		case a.Issues != b.Issues && a.Issues, a.Issues == b.Issues && a.Fingerprint < b.Fingerprint:
			return -1
		}
		return 1
	})
	return list, nil
}

// CheckRootSecret returns an error if the configured root secrets cannot
// decrypt the signing keys in service. It must be called before anything is
// written under them, because running nodes could not use it.
func (s *Server) CheckRootSecret(ctx context.Context) error {
	versions, err := s.store.SealingRoots(ctx)
	if err != nil {
		return err
	}
	for _, version := range versions {
		if !s.keys.Accepts(version) {
			return fmt.Errorf("the root secret does not match this database: its signing keys are sealed with the root secret of fingerprint %08x, but the configuration has %s", version, s.keys.Fingerprints())
		}
	}
	return nil
}

// checkRoots returns an error if this node cannot read what other nodes write.
// It needs the root secrets of the signing keys, and the one that started to
// issue last.
func (s *Server) checkRoots(ctx context.Context) error {
	if err := s.CheckRootSecret(ctx); err != nil {
		return err
	}
	since, err := s.store.RootsInOrder(ctx)
	if err != nil {
		return err
	}
	var last int64
	for version, at := range since {
		if last == 0 || at.After(since[last]) {
			last = version
		}
	}
	if last != 0 && !s.keys.Accepts(last) {
		return fmt.Errorf("another node issues tokens with the root secret of fingerprint %08x, which is not configured on this node", last)
	}
	return nil
}

// Reseal records that the issuing root secret issues, and seals signing keys
// and shared secrets with it. A value that cannot be decrypted stays as it is;
// it is logged when its tenant is loaded.
func (s *Server) Reseal(ctx context.Context) error {
	if err := s.store.IssueUnder(ctx, int64(s.keys.Issuing()), s.now()); err != nil {
		return err
	}
	if err := s.store.ResealSuspensionKey(ctx, s.keys, int64(s.keys.Issuing())); err != nil {
		return err
	}
	return s.store.Reseal(ctx, int64(s.keys.Issuing()),
		s.keys.ResealSigningKey,
		func(i models.TrustedIssuer) []byte {
			return s.keys.ResealIssuerSecret(i.TenantID, i.Settings.Issuer, i.SealedSecret, i.RootVersion)
		})
}

// renewClientSecret digests a client secret that has just matched under the
// issuing root secret, once each time the client is loaded.
func (s *Server) renewClientSecret(ctx context.Context, c *Client, secret string) {
	issuing := int64(s.keys.Issuing())
	for _, stored := range []models.Digest{c.SecretDigest, c.PreviousDigest} {
		if stored.Digest == nil || stored.RootVersion == issuing || c.renewed.Load() ||
			!s.keys.MatchClientSecret(c.TenantID, c.ID, secret, stored) {
			continue
		}
		if err := s.store.RenewClientSecret(ctx, c.TenantID, c.ID, stored, s.keys.DigestClientSecret(c.TenantID, c.ID, secret)); err != nil {
			s.log.Warn("cannot renew the digest of a client secret", "tenant", c.TenantID, "client", c.ID, "error", err)
			continue
		}
		c.renewed.Store(true)
	}
}

// renewSessionToken does the same for a session token that has just been
// verified as the current one.
func (s *Server) renewSessionToken(ctx context.Context, row *models.Session, h keys.Handle) {
	if h.Kind != keys.SessionToken || row.SessionToken.RootVersion == s.keys.Issuing() || !s.keys.Accepts(int64(h.Version)) {
		return
	}
	renewed := models.Chain{
		RootVersion: s.keys.Issuing(),
		Digest:      s.keys.Digest(h, s.keys.Issuing()),
		Next:        s.keys.Digest(s.keys.Successor(row.TenantID, h), s.keys.Issuing()),
	}
	if err := s.store.RenewSessionToken(ctx, row.ID, row.SessionToken.Digest, renewed); err != nil {
		s.log.Warn("cannot renew the digest of a session token", "tenant", row.TenantID, "session", row.ID.String(), "error", err)
	}
}
