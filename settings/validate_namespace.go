package settings

import (
	"slices"
)

// sameIssuerAndType reports whether two entries have the same issuer and token
// type.
func (s IssuerSettings) sameIssuerAndType(o IssuerSettings) bool {
	return s.Issuer == o.Issuer && s.TokenType == o.TokenType
}

// entryIDs checks that the ids of all entries differ. An entry without an id gets
// one from its issuer's host, so two entries of one host need explicit ids.
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
			v.Add(at, "is missing: the default made from the issuer's host, %q, is the id of %s", id, first.Path)
		case again:
			v.Add(at, "is the same as the id of %s", first.Path)
		default:
			v.optional(at, id, issuerID)
		}
		if !again {
			ids[id] = e
		}
	}
}

// distinct checks that each token belongs to only one entry: entries with the same
// issuer and token type must have no audience in common.
func (v *tenantValidation) distinct() {
	for j, b := range v.TrustedIssuers {
		for _, a := range v.TrustedIssuers[:j] {
			if a.sameIssuerAndType(b.IssuerSettings) && slices.ContainsFunc(v.audiences(a), func(aud string) bool { return slices.Contains(v.audiences(b), aud) }) {
				v.Add(b.Path, "accepts the same tokens as %s: token_type or audiences must differ", a.Path)
			}
		}
	}
}

// audiences returns the audiences that the entry accepts.
func (v *tenantValidation) audiences(e IssuerSpec) []string {
	if len(e.Audiences) == 0 {
		return []string{v.issuer()}
	}
	return e.Audiences
}

// namespaces checks that no issuer can vouch for the users of another: no prefix in
// a tenant may be the beginning of another, except that an entry may have no prefix,
// and entries with share_subjects may have the same one.
func (v *tenantValidation) namespaces() {
	path := func(e IssuerSpec) string { return e.Path + ".subject_prefix" }
	for j, b := range v.TrustedIssuers {
		for _, a := range v.TrustedIssuers[:j] {
			switch a.clashes(b.IssuerSettings) {
			case sameSpace:
				v.Add(path(b), "is the same as %s: to share a namespace, each entry needs share_subjects: true", path(a))
			case overlap:
				v.Add(path(b), "overlaps %s: neither may begin with the other", path(a))
			}
		}
	}
}
