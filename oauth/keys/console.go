package keys

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// consoleLinkPrefix is the prefix by which secret scanners recognize the code of a
// sign-in link.
const consoleLinkPrefix = "lk_cl_"

// consoleHandleSize is the size of a handle: the version of the root secret that issued
// it, and the secret.
const consoleHandleSize = 4 + 32

// The purposes of handles of the console, which are part of their digests.
const (
	consoleSession byte = iota + 1
	consoleLink
)

// NewConsoleSession returns a handle for a browser that has signed in to the console,
// and the digest to store.
func (k *Roots) NewConsoleSession() (handle string, digest []byte) {
	return k.newConsoleHandle("", consoleSession)
}

// DigestConsoleSession returns the digest of a handle, or nil if the text is not a handle.
func (k *Roots) DigestConsoleSession(handle string) []byte {
	return k.digestConsoleHandle(handle, "", consoleSession)
}

// NewConsoleLink returns the code of a sign-in link for the console, and the digest to
// store.
func (k *Roots) NewConsoleLink() (code string, digest []byte) {
	return k.newConsoleHandle(consoleLinkPrefix, consoleLink)
}

// DigestConsoleLink returns the digest of the code of a link, or nil if the text is
// none.
func (k *Roots) DigestConsoleLink(code string) []byte {
	return k.digestConsoleHandle(code, consoleLinkPrefix, consoleLink)
}

// IsConsoleLink reports whether a text has the prefix of the code of a sign-in link.
func IsConsoleLink(text string) bool { return strings.HasPrefix(text, consoleLinkPrefix) }

func (k *Roots) newConsoleHandle(prefix string, purpose byte) (text string, digest []byte) {
	b := binary.BigEndian.AppendUint32(nil, k.issuing.version)
	b = append(b, make([]byte, consoleHandleSize-len(b))...)
	rand.Read(b[4:])
	return prefix + base64.RawURLEncoding.EncodeToString(b), mac(k.issuing.digestConsole, []byte{purpose}, b[4:])
}

func (k *Roots) digestConsoleHandle(text, prefix string, purpose byte) []byte {
	encoded, ok := strings.CutPrefix(text, prefix)
	if !ok || len(encoded) != base64.RawURLEncoding.EncodedLen(consoleHandleSize) {
		return nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil
	}
	r := k.all[binary.BigEndian.Uint32(b)]
	if r == nil { // no longer configured
		return nil
	}
	return mac(r.digestConsole, []byte{purpose}, b[4:])
}
