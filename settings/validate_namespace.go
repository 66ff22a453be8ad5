package settings

import (
	"slices"
)

// kin reports whether two entries are of one issuer and one kind of token.
func (s IssuerSettings) kin(o IssuerSettings) bool {
	return s.Issuer == o.Issuer && s.TokenType == o.TokenType
}

// entryIDs checks that every entry has an id of its own. One that leaves it out
// gets it from its issuer's host, which two entries cannot share.
func (v *tenantValidation) entryIDs() {
	ids := map[string]IssuerSpec{}
	count := map[string]int{}
	for _, e := range v.TrustedIssuers {
		count[e.Issuer]++
	}
	for _, e := range v.TrustedIssuers {
		at, id := e.Path+".id", e.EntryID()
		first, again := ids[id]
		switch {
		case id == "":
		case e.ID == "" && count[e.Issuer] > 1:
			v.Add(at, "is missing: the tenant has more than one entry for this issuer, so each needs an id")
		case again && e.ID == "":
			v.Add(at, "is missing: made from the issuer's host it would be %q, which is the id of %s", id, first.Path)
		case again:
			v.Add(at, "is the same as that of %s", first.Path)
		default:
			v.optional(at, id, issuerID)
		}
		if !again {
			ids[id] = e
		}
	}
}

// distinct sees to it that a token belongs to one entry: two of one issuer and
// one kind of token have no audience in common.
func (v *tenantValidation) distinct() {
	for j, b := range v.TrustedIssuers {
		for _, a := range v.TrustedIssuers[:j] {
			if a.kin(b.IssuerSettings) && slices.ContainsFunc(v.audiences(a), func(aud string) bool { return slices.Contains(v.audiences(b), aud) }) {
				v.Add(b.Path, "accepts the same tokens as %s: token_type or audiences must differ", a.Path)
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

// namespaces ensures that no issuer can speak for another's users: no prefix of a
// tenant begins another, except that one entry may have none, and that entries
// with share_subjects may share one.
func (v *tenantValidation) namespaces() {
	path := func(e IssuerSpec) string { return e.Path + ".subject_prefix" }
	for j, b := range v.TrustedIssuers {
		for _, a := range v.TrustedIssuers[:j] {
			switch a.clashes(b.IssuerSettings) {
			case sameSpace:
				v.Add(path(b), "is the same as %s: entries share a namespace only if each says share_subjects: true", path(a))
			case overlap:
				v.Add(path(b), "overlaps %s: neither may begin with the other", path(a))
			}
		}
	}
}
