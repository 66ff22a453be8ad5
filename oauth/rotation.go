package oauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
)

// scheduledAnnouncement is how long a key that replaces an old one is published
// before it signs. Verifiers that fetch the key set once a day get it in time.
const scheduledAnnouncement = 24 * time.Hour

// ErrUnknownKey means that the tenant has no such key in service.
var ErrUnknownKey = errors.New("no such key in service")

// AnnouncedError is the error of announcing a key while another one waits to sign.
type AnnouncedError struct {
	Kid       string
	Activates time.Time
}

// Error implements error.
func (e *AnnouncedError) Error() string {
	return fmt.Sprintf("key %s is already announced and starts to sign at %s", e.Kid, e.Activates.Format(time.RFC3339))
}

// EnsureSigningKeys makes the first key of every tenant that has none. It
// announces a new key if the algorithm has changed or the newest key is old. If
// two nodes do this at once, only one of them makes the key.
func (s *Server) EnsureSigningKeys(ctx context.Context) error {
	due, err := s.store.KeysDue(ctx, s.now().Add(scheduledAnnouncement))
	if err != nil {
		return err
	}
	var faults []error
	for _, d := range due {
		if err := s.makeKey(ctx, d); err != nil {
			faults = append(faults, fmt.Errorf("tenant %s: %w", d.TenantID, err))
		}
	}
	return errors.Join(faults...)
}

// makeKey makes the key that is due, unless another node has made it.
func (s *Server) makeKey(ctx context.Context, due models.KeyDue) error {
	now := s.now()
	activates := now.Add(scheduledAnnouncement)
	switch {
	case due.Newest == "":
		activates = now
	case due.NewestAlgorithm != due.Algorithm:
		activates = now.Add(keys.Announcement)
	}
	key, err := s.keys.NewSigningKey(due.TenantID, due.Algorithm, now, activates)
	if err != nil {
		return err
	}
	tell := models.KeyEvent(models.EventKeyRotated, key.Kid, models.ServerActor)
	return s.store.ChangeKeyRing(ctx, due.TenantID, now, tell, func(ring []models.SigningKey) ([]models.SigningKey, error) {
		if newest(ring).Kid != due.Newest {
			return nil, nil // another node was faster
		}
		return []models.SigningKey{key}, nil
	})
}

// newest returns the key that activates last, or the zero value for an empty
// ring.
func newest(ring []models.SigningKey) models.SigningKey {
	if len(ring) == 0 {
		return models.SigningKey{}
	}
	return ring[len(ring)-1]
}

// RotateSigningKey announces a new key of the tenant's algorithm. It starts to
// sign when every verifier has had time to fetch it. The key before it
// continues to verify tokens until the last one has expired.
func (s *Server) RotateSigningKey(ctx context.Context, tenant string, by models.Actor) (models.SigningKey, error) {
	now := s.now()
	key, err := s.newKey(ctx, tenant, now, now.Add(keys.Announcement))
	if err != nil {
		return models.SigningKey{}, err
	}
	return key, s.store.ChangeKeyRing(ctx, tenant, now, models.KeyEvent(models.EventKeyRotated, key.Kid, by), func(ring []models.SigningKey) ([]models.SigningKey, error) {
		if last := newest(ring); now.Before(last.ActivatesAt.Time) {
			return nil, &AnnouncedError{last.Kid, last.ActivatesAt.Time}
		}
		return []models.SigningKey{key}, nil
	})
}

// RetireSigningKey takes a key out of service at once and destroys its private
// part. From then on, this server accepts no token that the key signed. If it
// is the active key, the announced key takes its place, or a new one if none is
// announced. RetireSigningKey returns the kid of the key that signs from then
// on.
func (s *Server) RetireSigningKey(ctx context.Context, tenant, kid string, by models.Actor) (signs string, err error) {
	now := s.now()
	spare, err := s.newKey(ctx, tenant, now, now)
	if err != nil {
		return "", err
	}
	err = s.store.ChangeKeyRing(ctx, tenant, now, models.KeyEvent(models.EventKeyRetired, kid, by), func(ring []models.SigningKey) (changed []models.SigningKey, err error) {
		states := keys.States(ring, now)
		signs = ""
		var retired, announced *models.SigningKey
		for i := range ring {
			switch {
			case ring[i].Kid == kid:
				retired = &ring[i]
			case states[i] == keys.Active:
				signs = ring[i].Kid
			case states[i] == keys.Announced:
				announced = &ring[i]
			}
		}
		if retired == nil {
			return nil, ErrUnknownKey
		}
		retired.RetiredAt, retired.Sealed = models.At(now), []byte{}
		changed = append(changed, *retired)
		if signs != "" {
			return changed, nil
		}
		if announced == nil {
			announced = &spare
		}
		announced.ActivatesAt, signs = models.At(now), announced.Kid
		return append(changed, *announced), nil
	})
	return signs, err
}

// newKey makes a key of the tenant's algorithm without storing it.
func (s *Server) newKey(ctx context.Context, tenant string, now, activates time.Time) (models.SigningKey, error) {
	c, err := s.store.TenantConfig(ctx, tenant)
	if err != nil {
		return models.SigningKey{}, err
	}
	return s.keys.NewSigningKey(tenant, c.SigningAlgorithm, now, activates)
}

// SigningReady returns an error if a tenant has no key, or if a tenant that
// this node has loaded has no active key. It is part of the readiness check.
func (s *Server) SigningReady(ctx context.Context) error {
	keyless, err := s.store.TenantsWithoutKey(ctx)
	if err != nil {
		return err
	}
	faults := []error{s.checkRoots(ctx)}
	for _, id := range keyless {
		faults = append(faults, fmt.Errorf("tenant %s: %w", id, keys.ErrNoSigningKey))
	}
	for _, t := range s.registry.loaded() {
		if _, err := t.ring.Active(s.now()); err != nil {
			faults = append(faults, fmt.Errorf("tenant %s: %w", t.ID, err))
		}
	}
	return errors.Join(faults...)
}
