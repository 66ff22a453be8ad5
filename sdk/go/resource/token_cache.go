package resource

import (
	"crypto/sha256"
	"sync"
)

// cacheShards keeps callers on different processors out of each other's way.
const cacheShards = 16

// tokenDigest is what a token is kept under: neither the memory nor the timing
// of a look-up gives away a token that could be used.
type tokenDigest [sha256.Size]byte

// tokenCache keeps verified tokens, the recently used ones, up to a number. It
// only says that a token's signature and claims were good: what may have
// changed since is for its caller to check.
type tokenCache struct {
	shards [cacheShards]cacheShard
	size   int // of one generation of one shard
}

// cacheShard has two generations. What is used moves to the young one; when
// that is full the old one is forgotten and the young one becomes old.
type cacheShard struct {
	mu         sync.Mutex
	young, old map[tokenDigest]*Token
}

// newTokenCache keeps at most about size tokens; negative: none.
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
