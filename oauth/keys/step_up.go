package keys

import (
	"crypto/sha256"

	"github.com/latchkey/latchkey/models"
)

// Handles are the handles of a session. A zero handle means that the
// session has none of that kind.
type Handles struct{ Refresh, Session Handle }

// Of returns the handle of a kind.
func (h *Handles) Of(kind Kind) *Handle {
	if kind == SessionToken {
		return &h.Session
	}
	return &h.Refresh
}

// ClientTokenDigest returns the digest of a client token from which a new
// handle is derived.
func ClientTokenDigest(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// StoredClientToken returns what the row stores of the client token. If
// latchkey_session_token was an access token, the digest is the only secret
// from which the handles are derived, so the row must not reveal it and stores
// a digest of the digest.
func StoredClientToken(presented Handle, digest []byte) []byte {
	if presented.Kind != 0 {
		return digest
	}
	sum := sha256.Sum256(digest)
	return sum[:]
}

// FollowsInChain reports whether a step-up with this handle advances its chain
// to its successor. A session token may be older than the root that issues, and
// its successor could not be derived again once its root is removed, so a handle
// from DeriveHandle follows it instead.
func (k *Roots) FollowsInChain(presented Handle) bool {
	return presented.Kind == RefreshToken || presented.Version == k.issuing.version
}

// DeriveHandle returns the handle that replaces one without its successor. It is
// derived from the client token and the secret of the presented handle, which
// may be zero.
func (k *Roots) DeriveHandle(tenant string, kind Kind, id models.SessionID, generation, version uint32, clientToken []byte, presented Handle) Handle {
	var secret []byte
	if presented.Kind != 0 {
		secret = presented.secret[:]
	}
	h := Handle{Kind: kind, Version: version, Session: id, Generation: generation}
	copy(h.secret[:], mac(k.all[version].chain, []byte{byte(kind)}, fixedWidth(tenant), id[:], be32(generation), clientToken, secret))
	return h
}

// Predecessor returns the handle of which the session's current handle is the
// successor, and the current handle. The predecessor is the presented handle
// or, if its successor was returned but not used before the step-up, that
// successor under any of the root secrets. Both results are zero if it is
// neither.
func (k *Roots) Predecessor(row *models.Session, presented Handle) (h, current Handle) {
	chain := ChainOf(row, presented.Kind)
	if k.all[presented.Version] == nil || k.all[chain.RootVersion] == nil {
		return Handle{}, Handle{}
	}
	next := k.Successor(row.TenantID, presented)
	candidates := []Handle{presented}
	for version := range k.all {
		next.Version = version
		candidates = append(candidates, next)
	}
	for _, h := range candidates {
		current := k.Successor(row.TenantID, h)
		current.Version = chain.RootVersion
		if current.Generation == chain.Generation && EqualDigests(k.Digest(current, chain.RootVersion), chain.Digest) {
			return h, current
		}
	}
	return Handle{}, Handle{}
}

// StepUpHandles returns the session's handles if a step-up made them, none of
// them has been used, and they are derived from the presented handle and a
// client token with this digest.
func (k *Roots) StepUpHandles(row *models.Session, presented Handle, clientToken []byte) (made Handles, ok bool) {
	up := &row.History.StepUp
	if up.FirstToken() == nil || up.Generation != row.Refresh.Generation {
		return made, false
	}
	from := presented
	if presented.Kind != 0 {
		switch before, current := k.Predecessor(row, presented); {
		case before.Kind != 0:
			from, *made.Of(presented.Kind) = before, current
		case presented.Kind == RefreshToken:
			return made, false
		}
	}
	for _, kind := range []Kind{RefreshToken, SessionToken} {
		chain := ChainOf(row, kind)
		if made.Of(kind).Kind != 0 || len(chain.Digest) == 0 {
			continue
		}
		if k.all[chain.RootVersion] == nil {
			return made, false
		}
		h := k.DeriveHandle(row.TenantID, kind, row.ID, chain.Generation, chain.RootVersion, clientToken, from)
		if !EqualDigests(k.Digest(h, chain.RootVersion), chain.Digest) {
			return made, false
		}
		*made.Of(kind) = h
	}
	return made, true
}
