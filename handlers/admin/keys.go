package admin

import (
	"context"
	"errors"
	"time"

	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
)

// SigningKey is a signing key of a tenant.
type SigningKey struct {
	Kid         string     `json:"kid" doc:"The id of the key, as in the key set"`
	Algorithm   string     `json:"algorithm" doc:"RS256, ES256 or EdDSA"`
	State       string     `json:"state" enum:"announced,active,verify-only,retired" doc:"announced: published, and does not sign yet; active: signs; verify-only: was replaced, and still verifies; retired: is not accepted"`
	CreatedAt   time.Time  `json:"created_at" doc:"When it was created"`
	ActivatesAt time.Time  `json:"activates_at" doc:"When it starts to sign"`
	RetiredAt   *time.Time `json:"retired_at,omitempty" doc:"When it was retired"`
}

// SigningKeys is the list of a tenant's signing keys.
type SigningKeys struct {
	Items []SigningKey `json:"items" nullable:"false" doc:"In the order of their activation"`
}

// SigningKeys returns every signing key of a tenant, including retired keys.
func (s *Service) SigningKeys(ctx context.Context, c *Caller, tenant string) (*SigningKeys, error) {
	if err := c.may(readers, tenant); err != nil {
		return nil, err
	}
	if err := s.tenantExists(ctx, tenant); err != nil {
		return nil, err
	}
	ring, err := s.Store.SigningKeys(ctx, tenant)
	if err != nil {
		return nil, err
	}
	list := &SigningKeys{Items: make([]SigningKey, len(ring))}
	for i, state := range keys.States(ring, s.Store.Now()) {
		k := ring[i]
		list.Items[i] = SigningKey{k.Kid, k.Algorithm, string(state), k.CreatedAt.Time, k.ActivatesAt.Time, moment(k.RetiredAt)}
	}
	return list, nil
}

// RotateKey announces a new signing key and returns it.
func (s *Service) RotateKey(ctx context.Context, c *Caller, tenant string) (*SigningKey, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	key, err := s.OAuth.RotateSigningKey(ctx, tenant, c.Actor())
	var announced *oauth.AnnouncedError
	if errors.As(err, &announced) {
		return nil, conflict("key_announced", capital(announced.Error()))
	}
	if err != nil {
		return nil, err
	}
	return &SigningKey{key.Kid, key.Algorithm, string(keys.Announced), key.CreatedAt.Time, key.ActivatesAt.Time, nil}, nil
}

// RetiredKey is the response to the retirement of a key.
type RetiredKey struct {
	Signs string `json:"signs" doc:"The kid of the key that signs from now on"`
}

// RetireKey takes a signing key out of service at once. The server rejects every token
// that the key has signed.
func (s *Service) RetireKey(ctx context.Context, c *Caller, tenant, kid string) (*RetiredKey, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	signs, err := s.OAuth.RetireSigningKey(ctx, tenant, kid, c.Actor())
	if errors.Is(err, oauth.ErrUnknownKey) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &RetiredKey{signs}, nil
}
