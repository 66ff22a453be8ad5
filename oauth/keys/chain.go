package keys

import (
	"crypto/hmac"

	"github.com/latchkey/latchkey/models"
)

// Position is the position of a handle in its session's chain.
type Position int

// The positions.
const (
	Forged  Position = iota // its secret does not match its generation
	Used                    // it has an earlier generation, whose secret can no longer be checked
	Current                 // it may be used
	Next                    // it is the successor of the current one: the database lost a commit
)

// ChainOf returns the chain of a kind of handle.
func ChainOf(row *models.Session, kind Kind) *models.Chain {
	if kind == SessionToken {
		return &row.SessionToken
	}
	return &row.Refresh
}

// Classify compares a handle with its chain in the row.
func (k *Roots) Classify(row *models.Session, h Handle) Position {
	chain := ChainOf(row, h.Kind)
	digest := k.Digest(h, chain.RootVersion)
	switch {
	case len(chain.Digest) == 0:
		return Forged
	case h.Generation < chain.Generation && k.all[h.Version] == nil:
		return Forged // its tag could not be checked
	case h.Generation < chain.Generation:
		return Used
	case h.Generation == chain.Generation && EqualDigests(digest, chain.Digest):
		return Current
	case h.Generation == chain.Generation+1 && EqualDigests(digest, chain.Next):
		return Next
	default:
		return Forged
	}
}

// EqualDigests compares digests in constant time. An empty digest equals none.
func EqualDigests(a, b []byte) bool { return len(a) > 0 && hmac.Equal(a, b) }

// maxBehind bounds how many generations a token may be behind its session and
// still be recognized. Each generation costs one HMAC.
const maxBehind = 256

// Matches reports whether the handle belongs to its session's chain in the
// row: it is the current one, the next one, or one from which the current one
// follows.
func (k *Roots) Matches(row *models.Session, h Handle) bool {
	chain := ChainOf(row, h.Kind)
	behind := int64(chain.Generation) - int64(h.Generation)
	switch {
	case behind == -1:
		return EqualDigests(k.Digest(h, chain.RootVersion), chain.Next)
	case behind < 0, behind > maxBehind, behind > 0 && k.all[h.Version] == nil:
		return false
	}
	for ; behind > 0; behind-- {
		version := h.Version
		h = k.Successor(row.TenantID, h)
		h.Version = version
	}
	return EqualDigests(k.Digest(h, chain.RootVersion), chain.Digest)
}
