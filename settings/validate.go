package settings

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/session"
)

// minKeyRotation leaves time to announce a key a day before it signs.
const minKeyRotation = 48 * time.Hour

var (
	tenantID     = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	tenantIDRule = matches(tenantID, "1–63 of a–z, 0–9 and -, and not begin with -")
)

// ValidTenantID reports whether id is a valid tenant id.
func ValidTenantID(id string) bool { return tenantID.MatchString(id) }

// ValidateTenants returns every fault of tenants that shows without compiling an
// expression or parsing a key. baseIssuer is the server's own base URL, empty if
// unknown. Settings that tenants omit have their defaults.
func ValidateTenants(tenants []TenantSpec, baseIssuer string) Faults {
	var faults Faults
	ids := seen{}
	for _, tenant := range Located(tenants) {
		v := tenantValidation{
			TenantSpec: tenant,
			at:         tenant.Path,
			base:       baseIssuer,
			clients:    map[string]bool{},
		}
		ids.note(&v.Faults, v.at+".id", tenant.ID)
		v.validate()
		faults = append(faults, v.Faults...)
	}
	return faults
}

// ValidateIDs returns the faults in the ids of tenants and their contents. The ids
// must be valid even in a document that omits stored settings.
func ValidateIDs(tenants []TenantSpec) Faults {
	var faults Faults
	ids := seen{}
	for _, t := range Located(tenants) {
		v := tenantValidation{TenantSpec: t, at: t.Path}
		v.required(t.Path+".id", t.ID, tenantIDRule)
		ids.note(&faults, t.Path+".id", t.ID)
		clients, users, entries := seen{}, seen{}, seen{}
		for _, c := range t.Clients {
			v.required(c.Path+".id", c.ID, clientID)
			clients.note(&v.Faults, c.Path+".id", c.ID)
		}
		for _, e := range t.TrustedIssuers {
			v.optional(e.Path+".id", e.ID, issuerID)
			entries.note(&v.Faults, e.Path+".id", e.ID)
			if e.EntryID() == "" {
				v.Add(e.Path+".id", "is missing: set the id of the entry, or its issuer")
			}
		}
		for _, u := range t.Users {
			v.required(u.Path+".sub", u.Sub, userSub)
			users.note(&v.Faults, u.Path+".sub", u.Sub)
		}
		destinations := seen{}
		for _, d := range t.EventDestinations {
			v.required(d.Path+".id", d.ID, tenantIDRule)
			destinations.note(&v.Faults, d.Path+".id", d.ID)
		}
		faults = append(faults, v.Faults...)
	}
	return faults
}

// tenantValidation collects the faults of one tenant.
type tenantValidation struct {
	TenantSpec
	Faults
	at      string          // its path
	base    string          // base URL of the server
	clients map[string]bool // ids of its clients
	faulty  map[string]bool // paths with a fault, for storable
}

func (v *tenantValidation) validate() {
	v.required(v.at+".id", v.ID, tenantIDRule)
	if r := v.KeyRotation; r != nil && r.Std() != session.NoIdleTimeout && r.Std() < minKeyRotation {
		v.Add(v.at+".key_rotation", "must be at least %s, or none", Duration(minKeyRotation))
	}
	if r := v.UserRetention; r != nil && r.Std() != session.NoIdleTimeout && r.Std() < EventRetention {
		v.Add(v.at+".user_retention", "must be at least %s, or none", Duration(EventRetention))
	}
	if e := v.Events; e != nil && e.Retention != nil {
		if r := e.Retention.Std(); r < minEventRetention || r > maxEventRetention {
			v.Add(v.at+".events.retention", "must be between %s and %s", Duration(minEventRetention), Duration(maxEventRetention))
		}
	}
	v.optional(v.at+".signing_algorithm", v.SigningAlgorithm, oneOf("RS256", "ES256", "Ed25519"))
	v.acrClasses()
	v.searchableAttributes()
	for _, c := range v.Clients {
		v.clients[c.ID] = true
	}
	for _, e := range v.TrustedIssuers {
		v.trustedIssuer(e.Path, e)
	}
	v.entryIDs()
	v.distinct()
	v.namespaces()
	ids, resources := seen{}, seen{}
	for _, c := range v.Clients {
		at := c.Path
		v.client(at, c)
		ids.note(&v.Faults, at+".id", c.ID)
		for j, resource := range c.ResourceIdentifiers {
			resources.note(&v.Faults, fmt.Sprintf("%s.resource_identifiers[%d]", at, j), resource)
		}
	}
	v.users()
	v.destinations()
	v.faulty = map[string]bool{}
	for _, f := range v.Faults {
		v.faulty[f.Path] = true
	}
	v.storable(v.at, reflect.ValueOf(v.TenantSpec))
}

// issuer returns the tenant's issuer URL.
func (v *tenantValidation) issuer() string {
	if v.ID == DefaultTenant {
		return v.base
	}
	return v.base + "/t/" + v.ID
}

// required checks a value that must be set.
func (v *tenantValidation) required(path, value string, r rule) {
	if value == "" {
		v.Add(path, "is missing")
		return
	}
	v.optional(path, value, r)
}

// optional checks a value if it is set.
func (v *tenantValidation) optional(path, value string, r rule) {
	if value == "" {
		return
	}
	if problem := r(value); problem != "" {
		v.Add(path, "%s", problem)
	}
}

// each checks every item of a list, and rejects duplicates.
func (v *tenantValidation) each(path string, items []string, r rule) {
	given := map[string]bool{}
	for i, item := range items {
		at := path + "[" + strconv.Itoa(i) + "]"
		v.required(at, item, r)
		if item != "" && given[item] {
			v.Add(at, "is listed twice")
		}
		given[item] = true
	}
}

// notEmpty rejects an explicitly empty list where an absent list means a default.
// Once stored, the two could not be distinguished.
func (v *tenantValidation) notEmpty(path string, items []string) {
	if items != nil && len(items) == 0 {
		v.Add(path, "is empty, which would mean the default: omit it, or list something")
	}
}

// seen maps each value to the path where it first occurred.
type seen map[string]string

// note adds a fault if value has occurred before.
func (s seen) note(faults *Faults, path, value string) {
	if first, again := s[value]; again && value != "" {
		faults.Add(path, "is the same as %s", first)
		return
	}
	s[value] = path
}

// Member returns the path of key in the mapping at path. It quotes and shortens a
// key that is long or not plain text.
func Member(path, key string) string {
	if quoted := strconv.Quote(key); len(key) > 64 || quoted != `"`+key+`"` || strings.ContainsAny(key, ".[") {
		return path + "[" + strconv.Quote(key[:min(len(key), 64)]) + "]"
	}
	return strings.TrimPrefix(path+"."+key, ".")
}
