package keys

import (
	"crypto/sha256"
	"sync"
)

// maxVerified bounds each half of a verifiedTokens. Both together take a few
// MiB.
const maxVerified = 2048

// verifiedTokens caches tokens of this server whose signatures are valid. A
// resource server presents the same token many times, and checking the
// signature costs more than everything else. The key is a digest of the whole
// text, so that another spelling is another token. When the younger half is
// full, the older half is dropped.
type verifiedTokens struct {
	mu         sync.RWMutex
	young, old map[[sha256.Size]byte]verifiedToken
}

// verifiedToken is the signed content of a token.
type verifiedToken struct {
	kid, typ string
	payload  []byte // must not be modified
}

// find returns the content of a cached token.
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

// add caches a token.
func (v *verifiedTokens) add(token string, good verifiedToken) {
	digest := sha256.Sum256([]byte(token))
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.young == nil || len(v.young) >= maxVerified {
		v.young, v.old = map[[sha256.Size]byte]verifiedToken{}, v.young
	}
	v.young[digest] = good
}
