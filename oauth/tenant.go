package oauth

import (
	"strings"
	"sync/atomic"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// Tenant is a tenant as a node has loaded it: everything that does not change
// with a session. It is immutable; a change of the configuration makes a new
// one.
type Tenant struct {
	ID     string
	Issuer string // {iss}: every URL of the tenant begins with it

	row     models.Tenant
	clients map[string]*Client
	issuers []*issuerEntry
	ring    *keys.Ring
	origins settings.OriginSet // of all clients

	ownOrigin string // of Issuer

	ownClasses session.Classes // empty: the default ones

	attributeSources map[string][]string              // by attribute: the enabled entries that map it
	issuerRows       map[string]*models.TrustedIssuer // by id, including those that do not compile on this node

	metadata  func() (*Document, error) // returns buildMetadata, called once
	published atomic.Pointer[published] // what JWKS returned last

	// Names that no subject may have, including those of clients and issuers
	// that do not compile on this node and are not used.
	clientIDs  map[string]bool
	namespaces []settings.IssuerSettings

	unusable map[string]bool // clients and issuers that this node cannot compile or decrypt
}

// client returns the client with the exact id, or nil.
func (t *Tenant) client(id string) *Client { return t.clients[id] }

// issuerEntry returns the issuer entry with the id that sessions refer to, or
// nil.
func (t *Tenant) issuerEntry(id string) *issuerEntry {
	for _, e := range t.issuers {
		if e.ID == id {
			return e
		}
	}
	return nil
}

// ownIssuer reports whether iss is an issuer of this server. Its tokens are
// never accepted as subject tokens of a trusted issuer.
func ownIssuer(base, iss string) bool {
	return iss == base || strings.HasPrefix(iss, base+"/t/") && !strings.Contains(iss[len(base)+3:], "/")
}
