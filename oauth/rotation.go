package oauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey/latchkey/models"
)

// EnsureSigningKeys makes the first key of every tenant that has none, and
// announces one where the tenant's algorithm has changed.
func (s *Server) EnsureSigningKeys(ctx context.Context) error {
	revisions, err := s.store.TenantRevisions(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for id := range revisions {
		if err := s.ensureSigningKey(ctx, id); err != nil {
			faults = append(faults, fmt.Errorf("tenant %s: %w", id, err))
		}
	}
	return errors.Join(faults...)
}

func (s *Server) ensureSigningKey(ctx context.Context, tenant string) error {
	c, err := s.store.TenantConfig(ctx, tenant)
	if err != nil {
		return err
	}
	if n := len(c.Keys); n > 0 && c.Keys[n-1].Algorithm == c.SigningAlgorithm {
		return nil
	}
	now := s.now()
	key, err := s.keys.NewSigningKey(tenant, c.SigningAlgorithm, now, now)
	if err != nil {
		return err
	}
	return s.store.EnsureSigningKey(ctx, key, Announcement)
}

// CheckRootSecret refuses a root secret that does not open the key that a
// tenant signs with. It is asked before anything is written under that root:
// what running nodes have would not fit it.
func (s *Server) CheckRootSecret(ctx context.Context) error {
	revisions, err := s.store.TenantRevisions(ctx)
	if err != nil {
		return err
	}
	for id := range revisions {
		keys, err := s.store.SigningKeys(ctx, id)
		if err != nil {
			return err
		}
		for i, state := range KeyStates(keys, s.now()) {
			if state != KeyActive {
				continue
			}
			if _, err := s.keys.unsealKey(keys[i]); err != nil {
				return fmt.Errorf("the root secret is not the one of this database: it does not open the key that tenant %q signs with: %w", id, err)
			}
		}
	}
	return nil
}

// RotateSigningKey announces a new key of the tenant's algorithm. It begins to
// sign when every verifier has had time to see it; the key before it goes on
// verifying until its last token has expired.
func (s *Server) RotateSigningKey(ctx context.Context, tenant string) (models.SigningKey, error) {
	c, err := s.store.TenantConfig(ctx, tenant)
	if err != nil {
		return models.SigningKey{}, err
	}
	now := s.now()
	if n := len(c.Keys); n > 0 && now.Before(c.Keys[n-1].ActivatesAt.Time) {
		return models.SigningKey{}, fmt.Errorf("key %s is announced already and signs from %s on", c.Keys[n-1].Kid, c.Keys[n-1].ActivatesAt.Format(time.RFC3339))
	}
	key, err := s.keys.NewSigningKey(tenant, c.SigningAlgorithm, now, now.Add(Announcement))
	if err != nil {
		return models.SigningKey{}, err
	}
	return key, s.store.AddSigningKey(ctx, key)
}

// SigningReady says whether every tenant has a key, and every tenant in use
// here one that signs: part of readiness.
func (s *Server) SigningReady(ctx context.Context) error {
	keyless, err := s.store.TenantsWithoutKey(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, id := range keyless {
		faults = append(faults, fmt.Errorf("tenant %s: %w", id, errNoSigningKey))
	}
	for _, t := range s.registry.inUse() {
		if _, err := t.ring.active(s.now()); err != nil {
			faults = append(faults, fmt.Errorf("tenant %s: %w", t.ID, err))
		}
	}
	return errors.Join(faults...)
}
