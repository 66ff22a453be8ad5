package bff

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

const (
	// signOutTimeout is how long SignOut waits for the server.
	signOutTimeout = 2 * time.Second
	// revokeFor is how long a revocation is retried, and revokePause the pause
	// between attempts.
	revokeFor   = 10 * time.Minute
	revokePause = 5 * time.Second
	// maxRevocations bounds the number of revocations in progress.
	maxRevocations = 1000
)

// SignOut ends the session of a request: here at once, together with its
// cookie, and at the server. If the server is unreachable, the user is signed
// out anyway, since no one has a token of the session any longer; the
// revocation is retried for ten minutes, or until [BFF.Close]. Without a
// session SignOut does nothing.
//
// An error wraps [latchkey.ErrUnavailable]: the store is unreachable and the
// user is still signed in.
func (b *BFF) SignOut(w http.ResponseWriter, r *http.Request) error {
	h, s, err := b.find(r)
	if err == nil {
		if err = b.remove(r.Context(), h); err == nil {
			b.revoke(r.Context(), s.Session)
		} else {
			err = asUnavailable(err)
		}
	}
	if err != nil && !errors.Is(err, ErrNoSession) {
		return fmt.Errorf("sign out: %w", err)
	}
	b.clearCookie(w)
	return nil
}

// revoke revokes a session that was removed from the store. It returns when
// that is done, or after signOutTimeout.
func (b *BFF) revoke(ctx context.Context, s *latchkey.Session) {
	select {
	case b.revocationSlots <- struct{}{}:
	default:
		b.log.ErrorContext(ctx, "session not revoked: too many revocations in progress", "session", s)
		return
	}
	done := make(chan struct{})
	b.revoking.Go(func() {
		defer func() { <-b.revocationSlots }()
		defer close(done)
		ctx, cancel := context.WithTimeout(b.ctx, revokeFor)
		defer cancel()
		if err := b.signOutWithRetry(ctx, s); err != nil {
			b.log.ErrorContext(ctx, "session not revoked", "session", s, "error", err)
		}
	})
	patience := time.NewTimer(b.signOutTimeout)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	}
}

func (b *BFF) signOutWithRetry(ctx context.Context, s *latchkey.Session) error {
	for {
		err := b.client.SignOut(ctx, s)
		if err == nil || !errors.Is(err, latchkey.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(b.revokePause):
		case <-ctx.Done():
			return err
		}
	}
}
