package models

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// maxIssuerID is the longest id of a trusted issuer.
const maxIssuerID = 63

var (
	issuerID  = tenantIDRule
	notInSlug = regexp.MustCompile(`[^a-z0-9]+`)
)

// EntryID is the id of the entry: the one that it was given, or else one that
// is made from the host of its issuer. It is empty where neither is known.
func (e IssuerSpec) EntryID() string {
	if e.ID != "" || e.Issuer == "" {
		return e.ID
	}
	return issuerIDFrom(e.Issuer)
}

// issuerIDFrom makes an id from the host of an issuer: auth-example-com for
// https://auth.example.com/v2. An issuer that is no URL is taken whole.
func issuerIDFrom(issuer string) string {
	name := issuer
	if u, err := url.Parse(issuer); err == nil && u.Host != "" {
		name = u.Host
	}
	id := strings.Trim(notInSlug.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if id = strings.TrimRight(id[:min(len(id), maxIssuerID)], "-"); id != "" {
		return id
	}
	sum := sha256.Sum256([]byte(issuer))
	return "issuer-" + hex.EncodeToString(sum[:4])
}

// nameEntries gives an id to rows that have none, which an earlier release
// wrote: that of the issuer's host, with a number from 2 where it is taken. The
// rows are ordered by age, so that every node names them alike. It reports the
// rows that it named.
func nameEntries(rows []TrustedIssuer) (named []*TrustedIssuer) {
	taken := map[string]bool{}
	for _, row := range rows {
		taken[row.EntryID] = true
	}
	for i := range rows {
		row := &rows[i]
		if row.EntryID != "" {
			continue
		}
		first := issuerIDFrom(row.Settings.Issuer)
		id := first
		for n := 2; taken[id]; n++ {
			suffix := fmt.Sprintf("-%d", n)
			id = first[:min(len(first), maxIssuerID-len(suffix))] + suffix
		}
		row.EntryID, taken[id] = id, true
		named = append(named, row)
	}
	return named
}
