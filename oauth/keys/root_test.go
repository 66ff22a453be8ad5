package keys

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/models"
)

// Root secrets of these tests.
const (
	rootA = "the first root secret of these tests"
	rootB = "the other root secret of these tests"
)

// keysOf derives the keys of root secrets, of which the first one issues.
func keysOf(t testing.TB, roots ...string) *Roots {
	t.Helper()
	k, err := NewRoots(roots)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestNewKeys(t *testing.T) {
	for _, row := range []struct {
		name    string
		secrets []string
		want    string // part of the error; empty: none
	}{
		{"rejects no root secret at all", nil, "no root secret"},
		{"rejects an empty root secret", []string{""}, "at least 32"},
		{"rejects a root secret of 31 bytes", []string{strings.Repeat("s", 31)}, "has 31 bytes; it must have at least 32"},
		{"rejects a short root secret after a long one", []string{rootA, "short"}, "has 5 bytes"},
		{"rejects the same root secret twice", []string{rootA, rootB, rootA}, "two root secrets are the same"},
		{"accepts a root secret of 32 bytes", []string{strings.Repeat("s", 32)}, ""},
		{"accepts root secrets of NewRootSecret", []string{NewRootSecret(), NewRootSecret()}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := NewRoots(row.secrets)
			if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("error is %v, want %q", err, row.want)
			}
			for _, secret := range row.secrets {
				if err != nil && secret != "" && strings.Contains(err.Error(), secret) {
					t.Errorf("the error repeats the secret: %v", err)
				}
			}
		})
	}
}

func TestRootVersionIsAFingerprint(t *testing.T) {
	ab, ba := keysOf(t, rootA, rootB), keysOf(t, rootB, rootA)
	a, b := ab.issuing.version, ba.issuing.version
	if a == b || ab.all[a] == nil || ab.all[b] == nil || ba.all[a] == nil || ba.all[b] == nil {
		t.Errorf("the version of a root depends on its position: %08x and %08x", a, b)
	}
	// Everything that is stored and signed depends on these keys: a change of the
	// derivation would sign every user out.
	r := ab.issuing
	for name, c := range map[string]struct{ got, want string }{
		"version":        {hex.EncodeToString(be32(r.version)), pinnedRootA.version},
		"chain":          {hex.EncodeToString(r.chain), pinnedRootA.chain},
		"tag":            {hex.EncodeToString(r.tag), pinnedRootA.tag},
		"digest-refresh": {hex.EncodeToString(r.digestRefresh), pinnedRootA.digestRefresh},
		"digest-session": {hex.EncodeToString(r.digestSession), pinnedRootA.digestSession},
		"digest-client":  {hex.EncodeToString(r.digestClient), pinnedRootA.digestClient},
	} {
		if c.got != c.want {
			t.Errorf("%s is %s, want %s", name, c.got, c.want)
		}
	}
}

// pinnedRootA is derived from rootA by HKDF-SHA-256, with the salt
// "latchkey" and the label after "latchkey/1/", computed by another program.
var pinnedRootA = struct{ version, chain, tag, digestRefresh, digestSession, digestClient string }{
	"1ec8db0b",
	"e9ff6651c0bdec54a6e5155808381c5743ba3414b729357498d36b543c571017",
	"b571291a4b9fe8dc2a1a09ee65eb23335fc495be816be6cad953cd69518efb2e",
	"a4637ce8d3544534cf9375db1d888ef1643d12bad19625649ef7bb3523a9a239",
	"575572c95f83de9205717b56fe659057e7ac0b436ddff4433a9f571916ab42e9",
	"deef8eb76abf32360c38d1de2b28da154663e840401c8530a2755eb4ee1221dd",
}

func TestTokensAreAcceptedWhateverTheOrderOfRoots(t *testing.T) {
	ab, ba, b := keysOf(t, rootA, rootB), keysOf(t, rootB, rootA), keysOf(t, rootB)
	fromA, fromB := ab.NewHandle(RefreshToken, models.NewSessionID()), ba.NewHandle(RefreshToken, models.NewSessionID())
	for _, row := range []struct {
		name     string
		text     string
		by       *Roots
		accepted bool
	}{
		{"the first of one list is the second of the other", ab.Encode("default", fromA), ba, true},
		{"the second of one list is the first of the other", ba.Encode("default", fromB), ab, true},
		{"a token of a root that is not in the list is refused", ab.Encode("default", fromA), b, false},
		{"a token of the only root in the list is accepted", ba.Encode("default", fromB), b, true},
	} {
		if _, err := row.by.ParseHandle("default", row.text); (err == nil) != row.accepted {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func TestASealedTextOpensOnlyInItsContext(t *testing.T) {
	k := keysOf(t, rootA, rootB)
	sealed, version := k.seal("signing-key", "default", "kid-1", "ES256", []byte("the private part"))
	for _, row := range []struct {
		name, purpose, tenant, id, algorithm string
		by                                   *Roots
		opens                                bool
	}{
		{"opens in its context", "signing-key", "default", "kid-1", "ES256", k, true},
		{"opens after another root issues", "signing-key", "default", "kid-1", "ES256", keysOf(t, rootB, rootA), true},
		{"does not open for another purpose", "shared-secret", "default", "kid-1", "ES256", k, false},
		{"does not open for another tenant", "signing-key", "shop", "kid-1", "ES256", k, false},
		{"does not open under another name", "signing-key", "default", "kid-2", "ES256", k, false},
		{"does not open for another algorithm", "signing-key", "default", "kid-1", "RS256", k, false},
		{"does not open when the border between two names moves", "signing-key", "defaultk", "id-1", "ES256", k, false},
		{"does not open if its root is not configured", "signing-key", "default", "kid-1", "ES256", keysOf(t, rootB), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			plain, err := row.by.open(row.purpose, row.tenant, row.id, row.algorithm, sealed, version)
			if (err == nil) != row.opens || row.opens && string(plain) != "the private part" {
				t.Errorf("%q, %v", plain, err)
			}
		})
	}
	t.Run("does not open with the version of another root", func(t *testing.T) {
		if _, err := k.open("signing-key", "default", "kid-1", "ES256", sealed, int64(keysOf(t, rootB).issuing.version)); err == nil {
			t.Error("it opens")
		}
	})
	t.Run("does not open with any bit flipped", func(t *testing.T) {
		for i := range len(sealed) * 8 {
			damaged := append([]byte(nil), sealed...)
			damaged[i/8] ^= 1 << (i % 8)
			if _, err := k.open("signing-key", "default", "kid-1", "ES256", damaged, version); err == nil {
				t.Fatalf("bit %d is not protected", i)
			}
		}
	})
	t.Run("does not open if it is truncated", func(t *testing.T) {
		for n := range sealed {
			if _, err := k.open("signing-key", "default", "kid-1", "ES256", sealed[:n], version); err == nil {
				t.Fatalf("%d bytes open", n)
			}
		}
	})
	t.Run("uses a new nonce each time", func(t *testing.T) {
		if again, _ := k.seal("signing-key", "default", "kid-1", "ES256", []byte("the private part")); string(again) == string(sealed) {
			t.Error("the nonce is not random")
		}
	})
}

func TestClientSecretMatchesOnlyItsOwnDigest(t *testing.T) {
	const secret = "a client secret that is longer than the seventy-two bytes that bcrypt would compare"
	k := keysOf(t, rootA, rootB)
	stored := k.DigestClientSecret("default", "web", secret)
	for _, row := range []struct {
		name                   string
		by                     *Roots
		tenant, client, secret string
		stored                 models.Digest
		matches                bool
	}{
		{"the right secret matches", k, "default", "web", secret, stored, true},
		{"it matches after another root issues", keysOf(t, rootB, rootA), "default", "web", secret, stored, true},
		{"it does not match if its root is not configured", keysOf(t, rootB), "default", "web", secret, stored, false},
		{"another last byte does not match", k, "default", "web", secret[:len(secret)-1] + "X", stored, false},
		{"no secret does not match", k, "default", "web", "", stored, false},
		{"another tenant's client does not match", k, "shop", "web", secret, stored, false},
		{"another client does not match", k, "default", "ios", secret, stored, false},
		{"a letter moved from one part to the next does not match", k, "default", "we", "b" + secret, stored, false},
		{"nothing matches a client without a secret", k, "default", "web", "", models.Digest{}, false},
		{"nothing matches an empty digest of a configured root", k, "default", "web", "", models.Digest{RootVersion: stored.RootVersion}, false},
		{"the digest of one root does not match as that of another", k, "default", "web", secret,
			models.Digest{Digest: stored.Digest, RootVersion: int64(keysOf(t, rootB).issuing.version)}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := row.by.MatchClientSecret(row.tenant, row.client, row.secret, row.stored); got != row.matches {
				t.Error(got)
			}
		})
	}
}

func TestIssuerSecretMatchesOnlyWhatWasSealed(t *testing.T) {
	k := keysOf(t, rootA)
	sealed, version := k.SealIssuerSecret("default", "https://auth.example.com", "shared")
	if !k.MatchIssuerSecret("default", "https://auth.example.com", "shared", sealed, version) {
		t.Error("the secret does not match")
	}
	if k.MatchIssuerSecret("default", "https://auth.example.com", "Shared", sealed, version) ||
		k.MatchIssuerSecret("shop", "https://auth.example.com", "shared", sealed, version) ||
		k.MatchIssuerSecret("default", "https://other.example.com", "shared", sealed, version) ||
		k.MatchIssuerSecret("default", "https://auth.example.com", "", nil, 0) {
		t.Error("something else matches")
	}
}
