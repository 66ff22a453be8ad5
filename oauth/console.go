package oauth

import (
	"context"
	"errors"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
)

// ErrConsoleLink is the error of a sign-in link for the console that is not valid. Its
// text does not say why.
var ErrConsoleLink = errors.New("the sign-in link is not valid: it was used, has expired, or its admin key was revoked")

// AuthenticateConsole returns the admin key that a sign-in to the console is for. secret
// is the key itself, or the code of a sign-in link, which it does not use up. The errors
// are those of AuthenticateAdminKey, and ErrConsoleLink.
func (s *Server) AuthenticateConsole(ctx context.Context, secret, ip string) (*models.AdminKey, error) {
	if !keys.IsConsoleLink(secret) {
		return s.AuthenticateAdminKey(ctx, secret, ip)
	}
	var row *models.AdminKey
	err := models.ErrNotFound
	if digest := s.keys.DigestConsoleLink(secret); digest != nil {
		row, err = s.store.ConsoleLinkKey(ctx, digest)
	}
	if errors.Is(err, models.ErrNotFound) {
		if wait := s.throttle.fail("", "admin key", ip, s.now()); wait > 0 {
			return nil, &TooManyFailuresError{wait}
		}
		return nil, ErrConsoleLink
	}
	return row, err
}

// OpenConsole signs a browser in to the console with the admin key that
// AuthenticateConsole returned for the secret, and returns the handle of its session. It
// ends the session of the handle `replaced`, unless that is empty. It returns
// ErrConsoleLink if the link was used in the meantime.
func (s *Server) OpenConsole(ctx context.Context, key *models.AdminKey, secret, replaced string, by models.Actor) (handle string, err error) {
	handle, digest := s.keys.NewConsoleSession()
	row := &models.ConsoleSession{Digest: digest, KeyID: key.ID}
	previous := s.keys.DigestConsoleSession(replaced)
	if !keys.IsConsoleLink(secret) {
		return handle, s.store.CreateConsoleSession(ctx, row, previous, by)
	}
	err = s.store.RedeemConsoleLink(ctx, s.keys.DigestConsoleLink(secret), row, previous, by)
	if errors.Is(err, models.ErrNotFound) {
		return "", ErrConsoleLink
	}
	return handle, err
}

// ConsoleSession returns the session of a handle and the admin key that it was opened
// with. It reads both at each call, so that a revocation of the key has effect at once.
// It returns models.ErrNotFound if the session has ended.
func (s *Server) ConsoleSession(ctx context.Context, handle string) (*models.ConsoleSession, *models.AdminKey, error) {
	digest := s.keys.DigestConsoleSession(handle)
	if digest == nil {
		return nil, nil, models.ErrNotFound
	}
	c, key, err := s.store.ConsoleSession(ctx, digest)
	if err != nil {
		return nil, nil, err
	}
	if !s.keys.Accepts(key.RootVersion) {
		return nil, nil, models.ErrNotFound
	}
	return c, key, nil
}
