package resource

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

const (
	// maxStatusList bounds the size of a status list, compressed and
	// decompressed.
	maxStatusList = 8 << 20
	// minStatusLife and maxStatusLife bound the ttl of a list.
	minStatusLife, maxStatusLife = 5 * time.Second, time.Hour
	typStatusList                = "statuslist+jwt"
	defaultStatusLife            = time.Minute
)

// statusList is a decompressed Token Status List (draft-ietf-oauth-status-list
// §4).
type statusList struct {
	bits    uint64 // per entry
	entries []byte
}

// at returns the status at an index, or false if the list has no such index.
func (l *statusList) at(index uint64) (status byte, known bool) {
	each := 8 / l.bits // index 0 is in the lowest bits of the first byte
	if index/each >= uint64(len(l.entries)) {
		return 0, false
	}
	return l.entries[index/each] >> (index % each * l.bits) & (1<<l.bits - 1), true
}

// statusClaims are the claims of a status list token (§5.1).
type statusClaims struct {
	issuer, uri      string
	issuedAt, expiry time.Time     // expiry is zero if there is none
	life             time.Duration // ttl, within bounds
	list             *statusList
}

// parseStatusClaims reads the claims by their exact names.
func parseStatusClaims(payload []byte) (*statusClaims, error) {
	var c map[string]json.RawMessage
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, err
	}
	s := &statusClaims{}
	var list struct {
		Bits uint64 `json:"bits"`
		List string `json:"lst"`
	}
	ttl := defaultStatusLife.Seconds()
	for name, to := range map[string]any{
		"iss": &s.issuer, "sub": &s.uri, "iat": (*numericDate)(&s.issuedAt), "exp": (*numericDate)(&s.expiry), "ttl": &ttl, "status_list": &list,
	} {
		value, present := c[name]
		if !present && name != "iss" && name != "exp" && name != "ttl" || present && (string(value) == "null" || json.Unmarshal(value, to) != nil) {
			return nil, fmt.Errorf("claim %s is missing or malformed", name)
		}
	}
	if ttl <= 0 {
		return nil, errors.New("ttl must be positive")
	}
	s.life = time.Duration(min(max(ttl, minStatusLife.Seconds()), maxStatusLife.Seconds()) * float64(time.Second))
	var err error
	s.list, err = inflate(list.Bits, list.List)
	return s, err
}

// inflate decodes `bits` and `lst` (§4.2). A short text may decompress to a
// huge list.
func inflate(bits uint64, text string) (*statusList, error) {
	if bits != 1 && bits != 2 && bits != 4 && bits != 8 {
		return nil, fmt.Errorf("bits is %d, expected 1, 2, 4 or 8", bits)
	}
	deflated, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("lst is not base64url")
	}
	z, err := zlib.NewReader(bytes.NewReader(deflated))
	if err != nil {
		return nil, fmt.Errorf("lst: %w", err)
	}
	entries, err := wire.ReadUpTo(z, maxStatusList)
	if err != nil {
		return nil, fmt.Errorf("lst: %w", err)
	}
	return &statusList{bits, entries}, nil
}
