package keys

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/models"
)

// someHandle returns the same handle in every run, with the given generation.
func someHandle(k *Roots, kind Kind, generation uint32) Handle {
	h := Handle{Kind: kind, Version: k.issuing.version, Session: models.SessionID([]byte("sixteen bytes id")), Generation: generation}
	copy(h.secret[:], "thirty-two bytes that are secret")
	return h
}

func TestParseHandleReversesEncode(t *testing.T) {
	k := keysOf(t, rootA)
	for prefix, kind := range map[string]Kind{"lk_rt_": RefreshToken, "lk_st_": SessionToken} {
		for _, generation := range []uint32{0, 1, 1<<32 - 1} {
			want := someHandle(k, kind, generation)
			text := k.Encode("default", want)
			got, err := k.ParseHandle("default", text)
			if err != nil || got != want {
				t.Errorf("%s: %+v, %v", text, got, err)
			}
			if !strings.HasPrefix(text, prefix) || len(text) != 6+96 {
				t.Errorf("wire form %s", text)
			}
		}
	}
}

func TestNewHandleIsUnique(t *testing.T) {
	k, id := keysOf(t, rootA), models.NewSessionID()
	a, b := k.NewHandle(RefreshToken, id), k.NewHandle(RefreshToken, id)
	if a.secret == b.secret || a.secret == [32]byte{} {
		t.Error("the first secret of a chain is not random")
	}
	if a.Session != id || a.Generation != 0 || a.Version != k.issuing.version {
		t.Errorf("%+v", a)
	}
}

func TestParseHandleRejectsAnyFlippedBit(t *testing.T) {
	k := keysOf(t, rootA, rootB)
	text := k.Encode("default", someHandle(k, RefreshToken, 7))
	for i := range len(text) * 8 {
		flipped := []byte(text)
		flipped[i/8] ^= 1 << (i % 8)
		if h, err := k.ParseHandle("default", string(flipped)); err == nil {
			t.Errorf("bit %d of %s is not protected: %+v", i, text, h)
		}
	}
	raw, err := base64.RawURLEncoding.DecodeString(text[6:])
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(raw) * 8 { // includes bits that base64 spreads over two letters
		raw[i/8] ^= 1 << (i % 8)
		if _, err := k.ParseHandle("default", refreshPrefix+base64.RawURLEncoding.EncodeToString(raw)); err == nil {
			t.Errorf("bit %d of the decoded token is not protected", i)
		}
		raw[i/8] ^= 1 << (i % 8)
	}
}

func TestParseHandleRejects(t *testing.T) {
	k := keysOf(t, rootA)
	refresh := someHandle(k, RefreshToken, 7)
	text := k.Encode("default", refresh)
	encoded := text[len(refreshPrefix):]
	body := encoded[:74] // version … secret, without the tag
	other := keysOf(t, rootB)
	for name, c := range map[string]struct{ tenant, text string }{
		"a token of another tenant":                {"shop", text},
		"a refresh token as a session token":       {"default", sessionPrefix + encoded},
		"a session token as a refresh token":       {"default", refreshPrefix + k.Encode("default", someHandle(k, SessionToken, 7))[6:]},
		"a token of a root that is not configured": {"default", other.Encode("default", someHandle(other, RefreshToken, 7))},
		"the tag of another token":                 {"default", refreshPrefix + body + k.Encode("default", someHandle(k, RefreshToken, 8))[80:]},
		"nothing":                                  {"default", ""},
		"a prefix alone":                           {"default", refreshPrefix},
		"a token without its prefix":               {"default", encoded},
		"a prefix in capitals":                     {"default", "LK_RT_" + encoded},
		"a space before":                           {"default", " " + text},
		"a space after":                            {"default", text + " "},
		"a newline after":                          {"default", text + "\n"},
		"a newline inside":                         {"default", text[:50] + "\n" + text[50:]},
		"a newline inside, in place of a letter":   {"default", text[:50] + "\n" + text[51:]},
		"four newlines for four letters":           {"default", text[:50] + "\r\n\r\n" + text[54:]},
		"padding":                                  {"default", text + "="},
		"padding of a whole group":                 {"default", text + "===="},
		"an additional letter":                     {"default", text + "A"},
		"an additional group":                      {"default", text + "AAAA"},
		"letters of the other alphabet":            {"default", refreshPrefix + strings.NewReplacer("-", "+", "_", "/", "A", "+").Replace(encoded)},
		"a letter that is not ASCII":               {"default", text[:len(text)-1] + "é"},
		"zeros":                                    {"default", refreshPrefix + strings.Repeat("A", 96)},
		"a JWT":                                    {"default", "eyJhbGciOiJub25lIn0.e30."},
		"a megabyte":                               {"default", refreshPrefix + strings.Repeat("A", 1<<20)},
		"the prefix of a client secret":            {"default", "lk_cs_" + encoded},
	} {
		t.Run(name, func(t *testing.T) {
			if h, err := k.ParseHandle(c.tenant, c.text); err == nil {
				t.Errorf("accepted as %+v", h)
			}
		})
	}
	t.Run("every shorter part of a token", func(t *testing.T) {
		for n := range text {
			if _, err := k.ParseHandle("default", text[:n]); err == nil {
				t.Errorf("accepted with only %d letters", n)
			}
		}
	})
}

func TestDigestDependsOnEverythingButVersionAndTag(t *testing.T) {
	k := keysOf(t, rootA, rootB)
	a, b := k.issuing.version, keysOf(t, rootB).issuing.version
	h := someHandle(k, RefreshToken, 7)
	digest := string(k.Digest(h, a))
	change := func(fn func(*Handle)) Handle { c := h; fn(&c); return c }
	if string(k.Digest(change(func(h *Handle) { h.Version = b }), a)) != digest {
		t.Error("the version in the token changes the digest: a retry after a change of root would not be recognized")
	}
	for name, other := range map[string]string{
		"another session":    string(k.Digest(change(func(h *Handle) { h.Session[0]++ }), a)),
		"another generation": string(k.Digest(change(func(h *Handle) { h.Generation++ }), a)),
		"another secret":     string(k.Digest(change(func(h *Handle) { h.secret[31]++ }), a)),
		"a session token":    string(k.Digest(change(func(h *Handle) { h.Kind = SessionToken }), a)),
		"another root's key": string(k.Digest(h, b)),
		"an unknown root":    string(k.Digest(h, 1)),
	} {
		if other == digest {
			t.Errorf("%s has the same digest", name)
		}
	}
	if EqualDigests(k.Digest(h, 1), k.Digest(h, 1)) {
		t.Error("two empty digests are equal")
	}
}
