package keys

import (
	"slices"
	"testing"

	"github.com/latchkey/latchkey/models"
)

func TestSuccessorNeedsThePresentedToken(t *testing.T) {
	k := keysOf(t, rootA, rootB)
	h := someHandle(k, RefreshToken, 7)
	next := k.Successor("default", h)
	if next.Kind != h.Kind || next.Session != h.Session || next.Generation != 8 {
		t.Errorf("%+v", next)
	}
	if k.Successor("default", h) != next {
		t.Error("a token has two successors")
	}
	if keysOf(t, rootB, rootA).Successor("default", h).secret != next.secret {
		t.Error("the successor depends on the order of the roots, although the token names its root")
	}
	secrets := map[string][32]byte{"the token itself": h.secret, "its successor": next.secret}
	for name, change := range map[string]func(*Handle){
		"the same generation of the same session with another secret": func(h *Handle) { h.secret[0] ^= 1 },
		"another session with the same secret":                        func(h *Handle) { h.Session[0] ^= 1 },
		"another generation with the same secret":                     func(h *Handle) { h.Generation++ },
		"a session token with the same secret":                        func(h *Handle) { h.Kind = SessionToken },
		"a token of another root with the same secret":                func(h *Handle) { h.Version = keysOf(t, rootB).issuing.version },
	} {
		c := h
		change(&c)
		secrets[name] = k.Successor("default", c).secret
	}
	secrets["another tenant"] = k.Successor("shop", h).secret
	// Guesses of an attacker with the root secret and the row, but without a token.
	var digest [32]byte
	copy(digest[:], k.Digest(h, h.Version))
	guess := h
	guess.secret = digest
	secrets["a secret derived from the digest in the row"] = k.Successor("default", guess).secret
	guess.secret = [32]byte{}
	secrets["a secret derived from zeros"] = k.Successor("default", guess).secret
	for a, one := range secrets {
		for b, other := range secrets {
			if a != b && one == other {
				t.Errorf("%s has the same secret as %s", a, b)
			}
		}
	}
}

func TestClassifyComparesTokensWithTheirChain(t *testing.T) {
	k := keysOf(t, rootA)
	h := someHandle(k, RefreshToken, 7)
	row := &models.Session{Refresh: k.Chain("default", h)}
	forge := func(generation uint32) Handle {
		f := h
		f.Generation, f.secret[0] = generation, f.secret[0]^1
		return f
	}
	for _, c := range []struct {
		name string
		of   Handle
		want Position
	}{
		{"the current token of the row", h, Current},
		{"its successor", k.Successor("default", h), Next},
		{"the successor of its successor", k.Successor("default", k.Successor("default", h)), Forged},
		{"an earlier generation", forge(6), Used},
		{"another secret of the same generation", forge(7), Forged},
		{"another secret of the next generation", forge(8), Forged},
		{"a session token of a session without one", someHandle(k, SessionToken, 0), Forged},
		{"a session token of an earlier generation", someHandle(k, SessionToken, 7), Forged},
	} {
		if got := k.Classify(row, c.of); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	next := k.Successor("default", h)
	if slices.Equal(row.Refresh.Digest, h.secret[:]) || slices.Equal(row.Refresh.Next, next.secret[:]) {
		t.Error("the row contains the secret of a token")
	}
}

func TestARowWithoutItsRootSecretMatchesNoToken(t *testing.T) {
	k, later := keysOf(t, rootA), keysOf(t, rootB)
	h := someHandle(later, RefreshToken, 7)
	row := &models.Session{Refresh: k.Chain("default", someHandle(k, RefreshToken, 7))}
	if got := later.Classify(row, h); got != Forged {
		t.Errorf("position %d", got)
	}
}

func TestNewTokensAreWrittenUnderTheIssuingRoot(t *testing.T) {
	firstA, firstB := keysOf(t, rootA, rootB), keysOf(t, rootB, rootA)
	next := firstB.Successor("default", someHandle(firstA, RefreshToken, 7))
	if next.Version != firstB.issuing.version {
		t.Error("the successor depends on the old root")
	}
	if chain := firstB.Chain("default", next); chain.RootVersion != firstB.issuing.version || !EqualDigests(chain.Digest, firstB.Digest(next, chain.RootVersion)) {
		t.Errorf("the row depends on another root: %+v", chain)
	}
	if _, err := keysOf(t, rootB).ParseHandle("default", firstB.Encode("default", next)); err != nil {
		t.Errorf("the old root cannot be removed after a rotation: %v", err)
	}
}
