package keys

import (
	"errors"
	"strconv"
	"testing"
	"time"
)

func TestAVerifiedTokenIsCached(t *testing.T) {
	k := keysOf(t, rootA)
	row := newRow(t, k, "ES256", 0)
	next := newRow(t, k, "ES256", time.Hour)
	ring := ringOf(t, k, row, next)
	token := signedAt(t, ring, epoch)
	if _, found := ring.verified.find(token); found {
		t.Fatal("a token is cached before it was verified")
	}
	for range 2 {
		if typ, payload, err := ring.Verify(epoch, token); err != nil || typ != "at+jwt" || string(payload) != `{"sub":"alice"}` {
			t.Errorf("%q %s %v", typ, payload, err)
		}
	}
	if _, found := ring.verified.find(token); !found {
		t.Error("the token is not cached")
	}
	for i := range token {
		changed := []byte(token)
		changed[i] ^= 1
		if _, payload, err := ring.Verify(epoch, string(changed)); err == nil {
			t.Errorf("accepted with another character at %d: %s", i, payload)
		}
	}
	if _, _, err := ring.Verify(epoch.Add(48*time.Hour), token); !errors.Is(err, ErrUnknownKid) {
		t.Errorf("after its key has been retired: %v", err)
	}
	if _, _, err := ringOf(t, k, next).Verify(epoch, token); !errors.Is(err, ErrUnknownKid) {
		t.Errorf("without its key: %v", err)
	}
}

func TestVerifiedTokensAreBounded(t *testing.T) {
	var v verifiedTokens
	for i := range 3 * maxVerified {
		v.add(strconv.Itoa(i), verifiedToken{kid: strconv.Itoa(i)})
	}
	if n := len(v.young) + len(v.old); n > 2*maxVerified {
		t.Errorf("%d tokens are cached", n)
	}
	for i, want := range map[int]bool{0: false, 3*maxVerified - 1: true, 2*maxVerified - 1: true} {
		if found, is := v.find(strconv.Itoa(i)); is != want || is && found.kid != strconv.Itoa(i) {
			t.Errorf("token %d is found: %t, as %s", i, is, found.kid)
		}
	}
}
