package models

import (
	"fmt"
	"slices"
	"strings"
)

// entryKey is what the entries of a tenant must differ in, so that a token
// belongs to one of them.
func (v *tenantValidation) entryKey(e IssuerSpec) string {
	audiences := slices.Sorted(slices.Values(e.Audiences))
	if len(audiences) == 0 {
		audiences = []string{v.issuer()}
	}
	return fmt.Sprintf("%q %q %q", e.Issuer, e.TokenType, slices.Compact(audiences))
}

// namespaces sees to it that no issuer can speak for another's users: the
// prefixes of a tenant are prefix-free, except for one entry without any, and
// those that share one all say so (DESIGN §4).
func (v *tenantValidation) namespaces() {
	path := func(i int) string { return fmt.Sprintf("%s.trusted_issuers[%d].subject_prefix", v.at, i) }
	for j, b := range v.TrustedIssuers {
		for i, a := range v.TrustedIssuers[:j] {
			one, other := a.SubjectPrefix, b.SubjectPrefix
			switch {
			case one == other && !(a.ShareSubjects && b.ShareSubjects):
				v.Add(path(j), "is the same as %s: entries share a namespace only if each says share_subjects: true", path(i))
			case one == other || one == "" || other == "":
			case strings.HasPrefix(one, other) || strings.HasPrefix(other, one):
				v.Add(path(j), "overlaps %s: neither may begin with the other", path(i))
			}
		}
	}
}
