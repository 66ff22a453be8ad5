package admin

import (
	"context"

	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// PreviewClient reports what a rule and claims would do that are not stored: whether the
// expressions compile, and the access token of a user right after a sign-in by amr. It
// writes nothing. The other settings are those of the stored client.
func (s *Service) PreviewClient(ctx context.Context, c *Caller, tenant, id, allow string, claims map[string]string, sub string, amr []string) (*oauth.Preview, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	stored, err := s.Store.StoredClient(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	var wanted settings.ClientSettings
	if err := stored.Settings.Decode(&wanted); err != nil {
		return nil, err
	}
	wanted.Allow, wanted.Claims = allow, claims
	return s.OAuth.PreviewClient(ctx, tenant, id, wanted, sub, amr)
}
