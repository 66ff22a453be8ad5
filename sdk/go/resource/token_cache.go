package resource

import (
	"crypto/sha256"
	"sync"
)

// cacheShards keeps concurrent callers from waiting for one lock.
const cacheShards = 16

// tokenDigest is the key of the cache: neither memory nor the timing of a
// lookup reveals a usable token.
type tokenDigest [sha256.Size]byte

// tokenCache keeps a bounded number of verified tokens, the recently used ones.
// A cached token had a good signature and good claims; the caller checks what
// may have changed since.
type tokenCache struct {
	shards [cacheShards]cacheShard
	size   int // of one generation of one shard
}

// cacheShard has two generations. Tokens move to the young one when they are
// used. When it is full, the old generation is dropped and the young one
// becomes old.
type cacheShard struct {
	mu         sync.Mutex
	young, old map[tokenDigest]*Token
}

// newTokenCache returns a cache for about size tokens; for a negative size,
// nil.
func newTokenCache(size int) *tokenCache {
	if size < 0 {
		return nil
	}
	return &tokenCache{size: max(size/cacheShards/2, 1)}
}

func (c *tokenCache) shard(d tokenDigest) *cacheShard { return &c.shards[d[0]%cacheShards] }

func (c *tokenCache) get(d tokenDigest) *Token {
	s := c.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.young[d]; t != nil {
		return t
	}
	t := s.old[d]
	if t != nil {
		delete(s.old, d)
		c.keep(s, d, t)
	}
	return t
}

func (c *tokenCache) put(d tokenDigest, t *Token) {
	s := c.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.keep(s, d, t)
}

func (c *tokenCache) keep(s *cacheShard, d tokenDigest, t *Token) {
	if len(s.young) >= c.size {
		s.old, s.young = s.young, nil
	}
	if s.young == nil {
		s.young = make(map[tokenDigest]*Token)
	}
	s.young[d] = t
}

func (c *tokenCache) drop(d tokenDigest) {
	s := c.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.young, d)
	delete(s.old, d)
}
