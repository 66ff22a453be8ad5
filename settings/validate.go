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

// minKeyRotation leaves room for a key to be announced a day before it signs.
const minKeyRotation = 48 * time.Hour

var (
	tenantID     = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	tenantIDRule = matches(tenantID, "1–63 of a–z, 0–9 and -, and not begin with -")
)

// ValidTenantID says whether a tenant can have this id.
func ValidTenantID(id string) bool { return tenantID.MatchString(id) }

// ValidateTenants names everything wrong with tenants that can be seen without
// compiling an expression or parsing a key. baseIssuer is the server's own
// base URL, empty if unknown. It takes tenants as whole: what they leave out
// has its default.
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

// ValidateIDs names what is wrong with the ids of tenants and of what is in
// them. That much must be right in a document that leaves out what is stored.
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
				v.Add(e.Path+".id", "is missing: give the id of the entry, or its issuer")
			}
		}
		for _, u := range t.Users {
			v.required(u.Path+".sub", u.Sub, userSub)
			users.note(&v.Faults, u.Path+".sub", u.Sub)
		}
		faults = append(faults, v.Faults...)
	}
	return faults
}

// tenantValidation gathers the faults of one tenant.
type tenantValidation struct {
	TenantSpec
	Faults
	at      string          // its path
	base    string          // base URL of the server
	clients map[string]bool // ids of its clients
	faulty  map[string]bool // paths that have a fault, as far as storable needs them
}

func (v *tenantValidation) validate() {
	v.required(v.at+".id", v.ID, tenantIDRule)
	if r := v.KeyRotation; r != nil && r.Of() != session.NoIdleTimeout && r.Of() < minKeyRotation {
		v.Add(v.at+".key_rotation", "must be at least %s, or none", Duration(minKeyRotation))
	}
	if r := v.UserRetention; r != nil && r.Of() != session.NoIdleTimeout && r.Of() < EventRetention {
		v.Add(v.at+".user_retention", "must be at least %s, which is how long events are kept, or none", Duration(EventRetention))
	}
	v.optional(v.at+".signing_algorithm", v.SigningAlgorithm, oneOf("RS256", "ES256", "Ed25519"))
	v.acrClasses()
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
	v.faulty = map[string]bool{}
	for _, f := range v.Faults {
		v.faulty[f.Path] = true
	}
	v.storable(v.at, reflect.ValueOf(v.TenantSpec))
}

// issuer is the tenant's issuer URL.
func (v *tenantValidation) issuer() string {
	if v.ID == DefaultTenant {
		return v.base
	}
	return v.base + "/t/" + v.ID
}

// required checks a value that must be given.
func (v *tenantValidation) required(path, value string, r rule) {
	if value == "" {
		v.Add(path, "is missing")
		return
	}
	v.optional(path, value, r)
}

// optional checks a value, if it is given.
func (v *tenantValidation) optional(path, value string, r rule) {
	if value == "" {
		return
	}
	if problem := r(value); problem != "" {
		v.Add(path, "%s", problem)
	}
}

// each checks every item of a list, none of which may come twice.
func (v *tenantValidation) each(path string, items []string, r rule) {
	given := map[string]bool{}
	for i, item := range items {
		at := path + "[" + strconv.Itoa(i) + "]"
		v.required(at, item, r)
		if item != "" && given[item] {
			v.Add(at, "is given twice")
		}
		given[item] = true
	}
}

// notEmpty refuses an explicit empty list where the absent one means
// "everything", or a default: stored, the two are the same.
func (v *tenantValidation) notEmpty(path string, items []string) {
	if items != nil && len(items) == 0 {
		v.Add(path, "is empty, which would mean the default; leave it out, or list something")
	}
}

// seen remembers at which path a value came first.
type seen map[string]string

// note adds a fault if value has come before.
func (s seen) note(faults *Faults, path, value string) {
	if first, again := s[value]; again && value != "" {
		faults.Add(path, "is the same as %s", first)
		return
	}
	s[value] = path
}

// Member is the path of what a mapping at path holds under key. A key that
// would not print as itself is quoted and cut.
func Member(path, key string) string {
	if quoted := strconv.Quote(key); len(key) > 64 || quoted != `"`+key+`"` {
		return path + "[" + strconv.Quote(key[:min(len(key), 64)]) + "]"
	}
	return strings.TrimPrefix(path+"."+key, ".")
}
