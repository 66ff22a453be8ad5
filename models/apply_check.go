package models

import (
	"slices"
	"strings"
)

// check validates the tenants as they would be. A fault of a noun that is
// stored and not named counts only if it is new: what an earlier release
// accepted does not stand in the way of other changes.
func (a *applier) check(plans []*tenantPlan) {
	var merged, earlier []TenantSpec
	for _, p := range plans {
		if p.row.PrunedAt.IsZero() {
			merged, earlier = append(merged, p.merged), append(earlier, p.earlier)
		}
	}
	a.merged = merged
	faults := a.o.Validate(merged)
	unnamed := func(f Fault) bool { return strings.Contains(f.Path, `["`) && inStored(f.Path, merged) }
	if slices.ContainsFunc(faults, unnamed) {
		before := a.o.Validate(earlier)
		faults = slices.DeleteFunc(faults, func(f Fault) bool { return unnamed(f) && slices.Contains(before, f) })
	}
	a.faults = append(a.faults, faults...)
}

// inStored reports whether path is in a noun that is stored and not named.
func inStored(path string, tenants []TenantSpec) bool {
	found := false
	eachPlace(tenants, func(p Place, _ string) { found = found || p.stored && within(path, p.Path) })
	return found
}

// within reports whether path is place, or in it.
func within(path, place string) bool {
	rest, in := strings.CutPrefix(path, place)
	return in && place != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
