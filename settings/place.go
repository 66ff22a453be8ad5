package settings

import (
	"fmt"
	"slices"
	"strings"
)

// Place records where a document describes an object, and which of its keys it gives.
type Place struct {
	Path    string  `yaml:"-"` // such as tenants[0].clients[1]; empty: see Located
	Written Written `yaml:"-"`

	Stored  bool `yaml:"-"` // the object is stored, and the document does not name it
	Context bool `yaml:"-"` // the tenant is named only for its contents, and must exist
}

// InTenant returns a document that names a tenant only as the place of what the caller
// adds to it. The tenant must exist.
func InTenant(id string) TenantSpec {
	return TenantSpec{ID: id, Place: Place{Path: "tenants[0]", Written: Written{}, Context: true}}
}

// Located returns a copy of tenants in which every object has a path. An object
// without a path gets the path of its position.
func Located(tenants []TenantSpec) []TenantSpec {
	tenants = slices.Clone(tenants)
	set := func(p *Place, format string, args ...any) {
		if p.Path == "" {
			p.Path = fmt.Sprintf(format, args...)
		}
	}
	for i := range tenants {
		t := &tenants[i]
		t.Clients, t.TrustedIssuers, t.Users, t.EventDestinations = slices.Clone(t.Clients), slices.Clone(t.TrustedIssuers), slices.Clone(t.Users), slices.Clone(t.EventDestinations)
		set(&t.Place, "tenants[%d]", i)
		for j := range t.Clients {
			set(&t.Clients[j].Place, "%s.clients[%d]", t.Path, j)
		}
		for j := range t.TrustedIssuers {
			set(&t.TrustedIssuers[j].Place, "%s.trusted_issuers[%d]", t.Path, j)
		}
		for j := range t.Users {
			set(&t.Users[j].Place, "%s.users[%d]", t.Path, j)
		}
		for j := range t.EventDestinations {
			set(&t.EventDestinations[j].Place, "%s.event_destinations[%d]", t.Path, j)
		}
	}
	return tenants
}

// EachPlace calls fn with the place and name of every object of tenants, and with a
// tenant after its contents. The name leaves out an invalid id: it might be a secret
// in the wrong line.
func EachPlace(tenants []TenantSpec, fn func(p Place, name string)) {
	for _, t := range tenants {
		of := ""
		if ValidTenantID(t.ID) && t.ID != DefaultTenant {
			of = "tenant " + t.ID
		}
		named := func(p Place, kind, id string, valid rule) {
			name := of
			if id != "" && valid(id) == "" {
				name = kind + " " + id
				if of != "" {
					name += " of " + of
				}
			}
			if p.Stored {
				name += ", stored and not in the file"
			}
			fn(p, name)
		}
		for _, c := range t.Clients {
			named(c.Place, "client", c.ID, clientID)
		}
		for _, e := range t.TrustedIssuers {
			named(e.Place, "trusted issuer", e.EntryID(), issuerID)
		}
		for _, u := range t.Users {
			named(u.Place, "user", u.Sub, printable(1, 64))
		}
		for _, d := range t.EventDestinations {
			named(d.Place, "event destination", d.ID, tenantIDRule)
		}
		fn(t.Place, of)
	}
}

// Named returns the faults with the names of their objects, because an index in a
// path means little in a file with a hundred clients.
func (f Faults) Named(tenants []TenantSpec) Faults {
	tenants = Located(tenants)
	named := slices.Clone(f)
	for i := range named {
		EachPlace(tenants, func(p Place, name string) {
			if named[i].Of == "" && Within(named[i].Path, p.Path) {
				named[i].Of = name
			}
		})
	}
	return named
}

// OfWritten returns the faults except those at keys that the document omits, which
// it may if it is merged with the stored one.
func (f Faults) OfWritten(tenants []TenantSpec) Faults {
	return slices.DeleteFunc(slices.Clone(f), func(fault Fault) bool {
		leftOut, found := false, false
		EachPlace(Located(tenants), func(p Place, _ string) {
			rest, in := strings.CutPrefix(fault.Path, p.Path+".")
			if !in || found || p.Written == nil {
				return
			}
			key := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz_"))]
			found, leftOut = true, !p.Written[key]
		})
		return leftOut
	})
}

// Within reports whether path equals place or lies inside it.
func Within(path, place string) bool {
	rest, in := strings.CutPrefix(path, place)
	return in && place != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
