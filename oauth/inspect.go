package oauth

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
)

// TenantReport is what an operator should know about a tenant. To make it, the
// server contacts every trusted issuer of the tenant.
type TenantReport struct {
	ID      string
	Signing error    // why the tenant cannot sign, or why one of its keys cannot be decrypted
	Kids    []string // ids of the keys that it publishes
	Broken  []string // ids of the clients that cannot be served
	Issuers []IssuerReport
}

// IssuerReport reports whether tokens of a trusted issuer could be verified
// now.
type IssuerReport struct {
	ID     string // of its entry
	Issuer string
	Err    error
}

// inspectConcurrency bounds how many issuers are contacted at the same time.
const inspectConcurrency = 8

// Inspect reports on every enabled tenant, in the order of their ids.
func (s *Server) Inspect(ctx context.Context) ([]TenantReport, error) {
	revisions, err := s.store.TenantRevisions(ctx)
	if err != nil {
		return nil, err
	}
	var reports []TenantReport
	for _, id := range slices.Sorted(maps.Keys(revisions)) {
		config, err := s.store.TenantConfig(ctx, id)
		if err != nil {
			return nil, err
		}
		if config.Enabled() {
			reports = append(reports, s.inspect(ctx, config))
		}
	}
	return reports, nil
}

// inspect reports on one tenant.
func (s *Server) inspect(ctx context.Context, c *models.TenantConfig) TenantReport {
	t := s.registry.build(c)
	report := TenantReport{ID: c.ID}
	ring, err := keys.NewRing(s.keys, c.Keys, ownTypes...)
	_, inactive := ring.Active(s.now())
	report.Signing = errors.Join(err, inactive)
	for _, key := range ring.JWKS(s.now()).Keys {
		report.Kids = append(report.Kids, key.KeyID)
	}
	for _, name := range slices.Sorted(maps.Keys(t.unusable)) {
		if client, is := strings.CutPrefix(name, "client "); is {
			report.Broken = append(report.Broken, client)
		}
	}
	var inspections sync.WaitGroup
	slots := make(chan struct{}, inspectConcurrency)
	enabled := slices.DeleteFunc(slices.Clone(c.Issuers), func(row models.TrustedIssuer) bool { return !row.Enabled() })
	report.Issuers = make([]IssuerReport, len(enabled))
	for i, row := range enabled {
		inspections.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			report.Issuers[i] = IssuerReport{row.EntryID, row.Settings.Issuer, s.registry.tryIssuer(ctx, t, row)}
		})
	}
	inspections.Wait()
	return report
}

// tryIssuer does what a node does for the first token of an issuer: it decrypts
// the shared secret, or fetches the keys and looks for one that matches the
// algorithms.
func (r *registry) tryIssuer(ctx context.Context, t *Tenant, row models.TrustedIssuer) error {
	entry, err := r.newIssuerEntry(t, row)
	if err != nil {
		return err
	}
	if entry.source == nil {
		return nil // it has a shared secret
	}
	return entry.check(ctx)
}
