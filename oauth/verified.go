package oauth

import (
	"crypto/sha256"
	"sync"
)

// maxVerified bounds each half of a verifiedTokens: together a few MiB.
const maxVerified = 2048

// verifiedTokens remembers tokens of ours whose signatures are good, since a
// resource server shows the same one again and again, and a signature costs more
// to check than all the rest. It is found by a digest of the whole text: what is
// spelled in another way is another token. It forgets the older half when the
// younger one is full.
type verifiedTokens struct {
	mu         sync.RWMutex
	young, old map[[sha256.Size]byte]verifiedToken
}

// verifiedToken is what its signature vouches for.
type verifiedToken struct {
	kid, typ string
	payload  []byte // not to be changed
}

func (v *verifiedTokens) find(token string) (verifiedToken, bool) {
	digest := sha256.Sum256([]byte(token))
	v.mu.RLock()
	defer v.mu.RUnlock()
	if found, is := v.young[digest]; is {
		return found, true
	}
	found, is := v.old[digest]
	return found, is
}

func (v *verifiedTokens) add(token string, good verifiedToken) {
	digest := sha256.Sum256([]byte(token))
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.young == nil || len(v.young) >= maxVerified {
		v.young, v.old = map[[sha256.Size]byte]verifiedToken{}, v.young
	}
	v.young[digest] = good
}
