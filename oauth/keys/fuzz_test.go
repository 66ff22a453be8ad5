package keys

import (
	"encoding/base64"
	"strings"
	"testing"
)

// FuzzHandle checks that only texts that were issued are accepted as handles.
func FuzzHandle(f *testing.F) {
	k := keysOf(f, rootA)
	issued := map[[2]string]bool{}
	for _, kind := range []Kind{RefreshToken, SessionToken} {
		for _, generation := range []uint32{0, 7, 1<<32 - 1} {
			text := k.Encode("default", someHandle(k, kind, generation))
			issued[[2]string{"default", text}] = true
			f.Add("default", text)
		}
	}
	f.Fuzz(func(t *testing.T, tenant, text string) {
		h, err := k.ParseHandle(tenant, text)
		switch {
		case err == nil && unchecked(k, h):
			if body := h.Kind.prefix() + base64.RawURLEncoding.EncodeToString(h.body()); !strings.HasPrefix(text, body[:len(body)-1]) {
				t.Errorf("%q is another spelling of %q", text, body)
			}
		case (err == nil) != issued[[2]string{tenant, text}]:
			t.Errorf("%q at %q: %+v, %v", text, tenant, h, err)
		case err == nil && k.Encode(tenant, h) != text:
			t.Errorf("%q is another spelling of %q", text, k.Encode(tenant, h))
		case err != nil && h != Handle{}:
			t.Errorf("%q is rejected, but returns %+v", text, h)
		}
	})
}

// unchecked reports whether the tag of a handle cannot be checked: it is a session
// token of a root that is not configured. Only its digest is checked later.
func unchecked(k *Roots, h Handle) bool { return h.Kind == SessionToken && k.all[h.Version] == nil }

// FuzzIssuedHandle checks that a handle that was issued is parsed as it was encoded,
// and is rejected with any byte changed or for any other tenant.
func FuzzIssuedHandle(f *testing.F) {
	k := keysOf(f, rootA, rootB)
	f.Add("default", "shop", false, []byte("sixteen bytes id"), uint32(0), []byte("thirty-two bytes that are secret"), uint(0), byte(' '))
	f.Fuzz(func(t *testing.T, tenant, other string, isSession bool, id []byte, generation uint32, secret []byte, at uint, to byte) {
		h := Handle{Kind: RefreshToken, Version: k.issuing.version, Generation: generation}
		if isSession {
			h.Kind = SessionToken
		}
		copy(h.Session[:], id)
		copy(h.secret[:], secret)
		text := k.Encode(tenant, h)
		if got, err := k.ParseHandle(tenant, text); err != nil || got != h {
			t.Fatalf("%+v is encoded as %q, which is parsed as %+v, %v", h, text, got, err)
		}
		if got, err := k.ParseHandle(other, text); err == nil && other != tenant {
			t.Errorf("a token of tenant %q is accepted for tenant %q: %+v", tenant, other, got)
		}
		changed := []byte(text)
		changed[at%uint(len(text))] = to
		if got, err := k.ParseHandle(tenant, string(changed)); err == nil && string(changed) != text && !unchecked(k, got) {
			t.Errorf("%q was changed to %q and is parsed as %+v", text, changed, got)
		}
		raw, _ := base64.RawURLEncoding.DecodeString(text[len(h.Kind.prefix()):])
		raw[at%uint(len(raw))] ^= to // includes bits that base64 spreads over two letters
		respelled := h.Kind.prefix() + base64.RawURLEncoding.EncodeToString(raw)
		if got, err := k.ParseHandle(tenant, respelled); err == nil && to != 0 && !unchecked(k, got) {
			t.Errorf("byte %d of %q changed by %d is parsed as %+v", at%uint(len(raw)), text, to, got)
		}
	})
}
