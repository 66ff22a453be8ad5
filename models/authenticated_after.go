package models

import (
	"time"

	"gorm.io/gorm"
)

// RevokedTokenError is the error of exchanging a client token that was issued
// before its user was signed out everywhere.
type RevokedTokenError struct {
	IssuedAt time.Time
	After    time.Time // the token must have been issued after this second
}

// Error implements error.
func (*RevokedTokenError) Error() string {
	return "the client token was issued before its user was signed out everywhere"
}

// checkAuthenticated checks the iat of a client token. Most issuers round iat
// down to the second, so a token of the second in which the user was signed out
// may be from before.
func (u *User) checkAuthenticated(t SpentToken) error {
	after := u.AuthenticatedAfter
	if t.loggedOutAt.After(after) {
		after = t.loggedOutAt
	}
	if !after.IsZero() && t.IssuedAt.Unix() <= after.Unix() {
		return &RevokedTokenError{t.IssuedAt, after.Truncate(time.Second)}
	}
	return nil
}

// requireLaterSignIn refuses the client tokens of a user that were issued up to
// now. It waits for an exchange that has locked the user, so that the sessions
// which the transaction reads next include the new one.
func requireLaterSignIn(tx *gorm.DB, tenant, sub string, now time.Time) error {
	return tx.Exec("UPDATE users SET authenticated_after = ? WHERE tenant_id = ? AND sub = ? AND COALESCE(authenticated_after, 0) < ?",
		At(now), tenant, sub, At(now)).Error
}
