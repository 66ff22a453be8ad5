package oauth

import (
	"strings"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// Tenant is what a node holds of a tenant: everything that does not change
// with a session. It is immutable; a change makes a new one.
type Tenant struct {
	ID     string
	Issuer string // {iss}: every URL of the tenant begins with it

	row     models.Tenant
	clients map[string]*Client
	issuers []*issuerEntry
	ring    *keyRing
	origins models.OriginSet // of all clients

	ownOrigin string // of Issuer

	ownClasses session.Classes // none: the default ones

	attributeSources map[string][]string              // of every attribute, what an enabled entry that maps it sets
	issuerRows       map[string]*models.TrustedIssuer // by id, also those that do not compile here

	metadata func() (*Document, error) // describe, made once

	// What no subject may pass for: also of those clients and issuers that do
	// not compile here and serve nobody.
	clientIDs  map[string]bool
	namespaces []models.IssuerSettings

	unusable map[string]bool // clients and issuers that do not compile or open here: a fault of ours
}

// client finds a client of the tenant by its exact id.
func (t *Tenant) client(id string) *Client { return t.clients[id] }

// issuerEntry finds an issuer entry by the id that sessions refer to.
func (t *Tenant) issuerEntry(id string) *issuerEntry {
	for _, e := range t.issuers {
		if e.ID == id {
			return e
		}
	}
	return nil
}

// ownIssuer says whether iss is an issuer of this server: its tokens are never
// subject tokens of a trusted issuer (CONFORMANCE C-04).
func ownIssuer(base, iss string) bool {
	return iss == base || strings.HasPrefix(iss, base+"/t/") && !strings.Contains(iss[len(base)+3:], "/")
}
