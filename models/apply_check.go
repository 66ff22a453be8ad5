package models

import (
	"slices"
	"strings"

	"github.com/latchkey/latchkey/settings"
)

// check validates the tenants as they will be. A fault of a stored object that
// is not named counts only if it is new, so that settings that an earlier
// release accepted do not block other changes.
func (a *applier) check(plans []*tenantPlan) {
	var merged, earlier []settings.TenantSpec
	for _, p := range plans {
		if p.row.PrunedAt.IsZero() {
			merged, earlier = append(merged, p.merged), append(earlier, p.earlier)
		}
	}
	a.merged = merged
	faults := a.o.Validate(merged)
	unnamed := func(f settings.Fault) bool { return strings.Contains(f.Path, `["`) && inStored(f.Path, merged) }
	if slices.ContainsFunc(faults, unnamed) {
		before := a.o.Validate(earlier)
		faults = slices.DeleteFunc(faults, func(f settings.Fault) bool { return unnamed(f) && slices.Contains(before, f) })
	}
	a.faults = append(a.faults, faults...)
}

// inStored reports whether path is in a stored object that is not named.
func inStored(path string, tenants []settings.TenantSpec) bool {
	found := false
	settings.EachPlace(tenants, func(p settings.Place, _ string) { found = found || p.Stored && settings.Within(path, p.Path) })
	return found
}
