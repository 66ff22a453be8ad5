package oauth

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
)

func TestSuccessorNeedsThePresentedToken(t *testing.T) {
	k := keysOf(t, rootA, rootB)
	h := someHandle(k, refreshToken, 7)
	next := k.successor("default", h)
	if next.kind != h.kind || next.session != h.session || next.generation != 8 {
		t.Errorf("%+v", next)
	}
	if k.successor("default", h) != next {
		t.Error("a token has two successors")
	}
	if keysOf(t, rootB, rootA).successor("default", h).secret != next.secret {
		t.Error("the successor depends on the order of the roots, although the token names its root")
	}
	secrets := map[string][32]byte{"the token itself": h.secret, "its successor": next.secret}
	for name, change := range map[string]func(*handle){
		"the same generation of the same session with another secret": func(h *handle) { h.secret[0] ^= 1 },
		"another session with the same secret":                        func(h *handle) { h.session[0] ^= 1 },
		"another generation with the same secret":                     func(h *handle) { h.generation++ },
		"a session token with the same secret":                        func(h *handle) { h.kind = sessionToken },
		"a token of another root with the same secret":                func(h *handle) { h.version = keysOf(t, rootB).issuing.version },
	} {
		c := h
		change(&c)
		secrets[name] = k.successor("default", c).secret
	}
	secrets["another tenant"] = k.successor("shop", h).secret
	// Guesses of an attacker with the root secret and the row, but without a token.
	var digest [32]byte
	copy(digest[:], k.digest(h, h.version))
	guess := h
	guess.secret = digest
	secrets["a secret derived from the digest in the row"] = k.successor("default", guess).secret
	guess.secret = [32]byte{}
	secrets["a secret derived from zeros"] = k.successor("default", guess).secret
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
	h := someHandle(k, refreshToken, 7)
	row := &models.Session{Refresh: k.chain("default", h)}
	forge := func(generation uint32) handle {
		f := h
		f.generation, f.secret[0] = generation, f.secret[0]^1
		return f
	}
	for _, c := range []struct {
		name string
		of   handle
		want tokenPosition
	}{
		{"the current token of the row", h, current},
		{"its successor", k.successor("default", h), next},
		{"the successor of its successor", k.successor("default", k.successor("default", h)), forged},
		{"an earlier generation", forge(6), used},
		{"another secret of the same generation", forge(7), forged},
		{"another secret of the next generation", forge(8), forged},
		{"a session token of a session without one", someHandle(k, sessionToken, 0), forged},
		{"a session token of an earlier generation", someHandle(k, sessionToken, 7), forged},
	} {
		if got := k.classify(row, c.of); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	next := k.successor("default", h)
	if slices.Equal(row.Refresh.Digest, h.secret[:]) || slices.Equal(row.Refresh.Next, next.secret[:]) {
		t.Error("the row contains the secret of a token")
	}
}

func TestARowWithoutItsRootSecretMatchesNoToken(t *testing.T) {
	k, later := keysOf(t, rootA), keysOf(t, rootB)
	h := someHandle(later, refreshToken, 7)
	row := &models.Session{Refresh: k.chain("default", someHandle(k, refreshToken, 7))}
	if got := later.classify(row, h); got != forged {
		t.Errorf("position %d", got)
	}
}

// factsOf returns what a server with the given keys finds about a row and a token.
func factsOf(t *testing.T, k *Keys, row *models.Session, presented handle) (successorIsCurrent bool, answer string) {
	t.Helper()
	store, err := models.Open(context.Background(), "sqlite:"+filepath.Join(t.TempDir(), "db"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	client := &Client{Client: models.Client{TenantID: "default", ID: "web"}, tenant: &Tenant{}}
	s := New(Config{Store: store, Keys: k})
	facts, successor, err := s.facts(context.Background(), &Call{Tenant: client.tenant}, client, row, presented)
	if err != nil {
		t.Fatal(err)
	}
	return facts.SuccessorIsCurrent, k.encode("default", successor)
}

func TestRetryAfterAChangeOfRootReturnsTheSameBytes(t *testing.T) {
	onlyA, firstA, firstB := keysOf(t, rootA), keysOf(t, rootA, rootB), keysOf(t, rootB, rootA)
	for _, c := range []struct {
		name          string
		before, after *Keys // the keys that rotated, and those at the retry
	}{
		{"with the same roots", onlyA, onlyA},
		{"when another root has been added", onlyA, firstA},
		{"when another root issues", firstA, firstB},
		{"when the first root issues again", firstB, firstA},
	} {
		t.Run(c.name, func(t *testing.T) {
			presented := someHandle(onlyA, refreshToken, 7)
			next := c.before.successor("default", presented)
			row := &models.Session{
				History: new(models.History), ID: presented.session, TenantID: "default", ClientID: "web", CreatedAt: time.Unix(1, 0), AbsoluteExpiry: time.Unix(2, 0),
				Refresh: c.before.chain("default", next),
			}
			isCurrent, answer := factsOf(t, c.after, row, presented)
			if !isCurrent {
				t.Error("the successor is not recognized: a retry would look like theft")
			}
			if want := c.before.encode("default", next); answer != want {
				t.Errorf("the retry returned\n%s, the rotation\n%s", answer, want)
			}
			if c.after.classify(row, next) != current {
				t.Error("the successor cannot be used")
			}
		})
	}
}

func TestNewTokensAreWrittenUnderTheIssuingRoot(t *testing.T) {
	firstA, firstB := keysOf(t, rootA, rootB), keysOf(t, rootB, rootA)
	next := firstB.successor("default", someHandle(firstA, refreshToken, 7))
	if next.version != firstB.issuing.version {
		t.Error("the successor depends on the old root")
	}
	if chain := firstB.chain("default", next); chain.RootVersion != firstB.issuing.version || !equalDigests(chain.Digest, firstB.digest(next, chain.RootVersion)) {
		t.Errorf("the row depends on another root: %+v", chain)
	}
	if _, err := keysOf(t, rootB).parseHandle("default", firstB.encode("default", next)); err != nil {
		t.Errorf("the old root cannot be removed after a rotation: %v", err)
	}
}
