package oauth

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"time"

	"github.com/latchkey/latchkey/models"
)

const (
	// statusTTL is how long a verifier may use a list before it fetches it
	// again.
	statusTTL = time.Minute
	// statusLifetime is how long a list may be used if it cannot be fetched
	// again.
	statusLifetime = 5 * time.Minute
)

// statusToken is a list as it is served. It is immutable.
type statusToken struct {
	plain []byte
	gzip  []byte // nil: it would not be shorter
	etag  string
	exp   time.Time

	asOf    time.Time
	changes int    // Tail.Changes before the list was read; -1: not known
	kid     string // of the key that signed it
}

// buildStatusList reads a list and signs it. The error is models.ErrNotFound if
// there is no such list.
func (s *Server) buildStatusList(ctx context.Context, t *Tenant, list int64) (*statusToken, error) {
	changes, err := s.tail.Changes(t.ID)
	if err != nil {
		changes = -1
	}
	now := s.now()
	state, err := s.store.StatusList(ctx, t.ID, list)
	if err != nil {
		return nil, err
	}
	lst, err := compressStatus(state)
	if err != nil {
		return nil, err
	}
	release, err := s.documentSlots.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	kid, err := t.ring.Active(now)
	if err != nil {
		return nil, err
	}
	signed, err := t.ring.Sign(now, typStatusList, map[string]any{
		"iss": t.Issuer, "sub": t.statusURI(list), "iat": now.Unix(), "exp": now.Add(statusLifetime).Unix(), "ttl": int64(statusTTL / time.Second),
		"status_list": map[string]any{"bits": 1, "lst": lst},
	})
	if err != nil {
		return nil, err
	}
	token := &statusToken{plain: []byte(signed), exp: time.Unix(now.Add(statusLifetime).Unix(), 0), asOf: now, changes: changes, kid: kid}
	sum := sha256.Sum256(token.plain)
	token.etag = base64.RawURLEncoding.EncodeToString(sum[:12])
	token.gzip, err = gzipIfSmaller(token.plain)
	return token, err
}

// compressStatus encodes one bit for each entry, the first one as the least
// significant bit of the first byte. 1 is INVALID (Token Status List §4.1,
// §7.1). An entry without a session looks like a valid one.
func compressStatus(state *models.StatusList) (lst string, err error) {
	bits := make([]byte, state.Size/8)
	for _, index := range state.Over {
		bits[index/8] |= 1 << (index % 8)
	}
	var text bytes.Buffer
	w, err := zlib.NewWriterLevel(&text, zlib.BestCompression)
	if err != nil {
		return "", err
	}
	if err := writeAll(w, bits); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(text.Bytes()), nil
}

// gzipIfSmaller returns the text compressed with gzip, or nil if that is not
// smaller.
func gzipIfSmaller(text []byte) ([]byte, error) {
	var short bytes.Buffer
	w, err := gzip.NewWriterLevel(&short, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if err := writeAll(w, text); err != nil || short.Len() >= len(text) {
		return nil, err
	}
	return short.Bytes(), nil
}

// writeAll writes the text and closes the writer.
func writeAll(w io.WriteCloser, text []byte) error {
	if _, err := w.Write(text); err != nil {
		return err
	}
	return w.Close()
}
