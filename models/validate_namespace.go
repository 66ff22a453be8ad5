package models

import (
	"fmt"
	"slices"
)

// distinct sees to it that a token belongs to one entry: two of one issuer and
// one kind of token have no audience in common.
func (v *tenantValidation) distinct() {
	for j, b := range v.TrustedIssuers {
		for i, a := range v.TrustedIssuers[:j] {
			if a.kin(b.IssuerSettings) && slices.ContainsFunc(v.audiences(a), func(aud string) bool { return slices.Contains(v.audiences(b), aud) }) {
				v.Add(fmt.Sprintf("%s.trusted_issuers[%d]", v.at, j), "accepts the same tokens as %s.trusted_issuers[%d]: token_type or audiences must differ", v.at, i)
			}
		}
	}
}

// audiences are those that the entry accepts.
func (v *tenantValidation) audiences(e IssuerSpec) []string {
	if len(e.Audiences) == 0 {
		return []string{v.issuer()}
	}
	return e.Audiences
}

// namespaces sees to it that no issuer can speak for another's users: the
// prefixes of a tenant are prefix-free, except for one entry without any, and
// those that share one all say so (DESIGN §4).
func (v *tenantValidation) namespaces() {
	path := func(i int) string { return fmt.Sprintf("%s.trusted_issuers[%d].subject_prefix", v.at, i) }
	for j, b := range v.TrustedIssuers {
		for i, a := range v.TrustedIssuers[:j] {
			switch a.clashes(b.IssuerSettings) {
			case sameSpace:
				v.Add(path(j), "is the same as %s: entries share a namespace only if each says share_subjects: true", path(i))
			case overlap:
				v.Add(path(j), "overlaps %s: neither may begin with the other", path(i))
			}
		}
	}
}
