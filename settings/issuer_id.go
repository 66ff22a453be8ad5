package settings

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"regexp"
	"strings"
)

// MaxIssuerID is the maximum length of the id of a trusted issuer.
const MaxIssuerID = 63

var (
	issuerID  = tenantIDRule
	notInSlug = regexp.MustCompile(`[^a-z0-9]+`)
)

// EntryID returns the id of the entry: its configured id, or otherwise an id made
// from the host of its issuer. It is empty if the entry has neither.
func (e IssuerSpec) EntryID() string {
	if e.ID != "" || e.Issuer == "" {
		return e.ID
	}
	return IssuerID(e.Issuer)
}

// IssuerID makes an id from the host of an issuer: auth-example-com for
// https://auth.example.com/v2. It uses the whole text of an issuer that is not a
// URL.
func IssuerID(issuer string) string {
	name := issuer
	if u, err := url.Parse(issuer); err == nil && u.Host != "" {
		name = u.Host
	}
	id := strings.Trim(notInSlug.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if id = strings.TrimRight(id[:min(len(id), MaxIssuerID)], "-"); id != "" {
		return id
	}
	sum := sha256.Sum256([]byte(issuer))
	return "issuer-" + hex.EncodeToString(sum[:4])
}
