package resource

import (
	"encoding/binary"
	"testing"
)

func TestTheCacheKeepsTokensInUse(t *testing.T) {
	const size = 1000
	c := newTokenCache(size)
	digest := func(n uint64) (d tokenDigest) {
		binary.LittleEndian.PutUint64(d[:], n)
		return d
	}
	used := &Token{ID: "used"}
	c.put(digest(0), used)
	for n := uint64(1); n <= 20*size; n++ {
		c.put(digest(n), &Token{})
		if n%100 == 0 && c.get(digest(0)) != used {
			t.Fatalf("after %d others the token in use is dropped", n)
		}
	}
	kept := 0
	for i := range c.shards {
		kept += len(c.shards[i].young) + len(c.shards[i].old)
	}
	if kept > size || kept < size/2 {
		t.Errorf("%d are kept", kept)
	}
	if c.drop(digest(0)); c.get(digest(0)) != nil {
		t.Error("a dropped token is kept")
	}
	if c.get(digest(1)) != nil || c.get(digest(20*size)) == nil {
		t.Error("the oldest is kept, or the newest is not")
	}
}
