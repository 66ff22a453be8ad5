package settings

import (
	"fmt"
	"slices"
	"strings"
)

// Place is where a document has a noun, and which of its keys it gives.
type Place struct {
	Path    string  `yaml:"-"` // such as tenants[0].clients[1]; empty: see Located
	Written Written `yaml:"-"`

	Stored  bool `yaml:"-"` // the noun is stored, and the document does not name it
	Context bool `yaml:"-"` // of a tenant: it is named only for what is in it, and must exist
}

// Located is a copy of tenants in which every noun has a path: those without
// get the one that their position gives them.
func Located(tenants []TenantSpec) []TenantSpec {
	tenants = slices.Clone(tenants)
	set := func(p *Place, format string, args ...any) {
		if p.Path == "" {
			p.Path = fmt.Sprintf(format, args...)
		}
	}
	for i := range tenants {
		t := &tenants[i]
		t.Clients, t.TrustedIssuers, t.Users = slices.Clone(t.Clients), slices.Clone(t.TrustedIssuers), slices.Clone(t.Users)
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
	}
	return tenants
}

// eachPlace calls fn with every noun of tenants, a tenant after what is in it,
// and with what people call it. An id that no such noun can have is left out:
// it may be anything, and even a secret in the wrong line.
func EachPlace(tenants []TenantSpec, fn func(p Place, name string)) {
	for _, t := range tenants {
		of := ""
		if ValidTenantID(t.ID) && t.ID != DefaultTenant {
			of = "tenant " + t.ID
		}
		named := func(p Place, noun, id string, valid rule) {
			name := of
			if id != "" && valid(id) == "" {
				name = noun + " " + id
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
		fn(t.Place, of)
	}
}

// Named is the faults with the name of the noun that each is of, beside the
// path: a number says little in a file of a hundred clients.
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

// OfWritten is the faults without those at keys that their noun leaves out: a
// document that is to be merged may do so.
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

// within reports whether path is place, or in it.
func Within(path, place string) bool {
	rest, in := strings.CutPrefix(path, place)
	return in && place != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
