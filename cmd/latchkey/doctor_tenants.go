package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

// served examines the contents of the database. It reports whether the root secrets match.
func (d *doctor) served(ctx context.Context, store *models.Store, roots *keys.Roots, checked map[string]bool) bool {
	server, err := newServer(d.config, store, roots, quiet)
	if err != nil {
		d.add(isFault, "configuration", "%v", err)
		return false
	}
	if err := server.CheckRootSecret(ctx); err != nil {
		d.add(isFault, "root secrets", "%v: configure the root secret that belongs to this database, or the database that belongs to this root secret", err)
		return false
	}
	d.roots(ctx, server)
	reports, err := server.Inspect(ctx)
	if err != nil {
		d.add(isFault, "tenants", "%v", err)
		return false
	}
	d.signing(reports)
	d.issuers(reports, checked)
	d.claims(ctx, server, checked)
	d.suspensions(ctx, store, roots)
	if addresses, err := store.Addresses(ctx); err == nil {
		d.proxyAddress(addresses)
	}
	return true
}

// roots reports what depends on each root secret.
func (d *doctor) roots(ctx context.Context, server *oauth.Server) {
	status, err := server.SecretStatus(ctx)
	if err != nil {
		d.add(isFault, "root secrets", "%v", err)
		return
	}
	const see = "; run latchkey secret status for details"
	for _, r := range status {
		switch {
		case r.Issues && r.Accepted:
			d.add(isOK, "root secrets", "%s is in use for issuing", r.Fingerprint)
		case r.Accepted && r.Upcoming:
			d.add(isOK, "root secrets", "%s is the next root secret: put it first when every server accepts it", r.Fingerprint)
		case !r.Accepted && r.Needed():
			d.add(isFault, "root secrets", "%s is not configured, and whatever depends on it is rejected: add it after the other root secrets, or accept the loss"+see, r.Fingerprint)
		case r.Accepted && r.Needed():
			d.add(isOK, "root secrets", "%s is still in use"+see, r.Fingerprint)
		case r.Accepted:
			d.add(isWarning, "root secrets", "nothing depends on %s any longer: remove it from the configuration", r.Fingerprint)
		}
	}
}

// signing reports tenants that cannot sign, and clients with invalid expressions.
func (d *doctor) signing(reports []oauth.TenantReport) {
	faults := 0
	for _, t := range reports {
		if t.ID == settings.DefaultTenant {
			d.kids = t.Kids
		}
		if t.Signing != nil {
			faults++
			d.add(isFault, "signing keys", "tenant %s: %v; run latchkey keys list to see its keys; if it has none, the next start creates one", t.ID, t.Signing)
		}
		for _, client := range t.Broken {
			d.add(isFault, "clients", "%s of tenant %s cannot get tokens: one of its expressions is not valid in this release; run latchkey apply --dry-run to see which one", client, t.ID)
		}
	}
	if faults == 0 {
		d.add(isOK, "signing keys", "%s can sign", plural(len(reports), "tenant"))
	}
}

// issuers reports trusted issuers whose tokens cannot be verified.
func (d *doctor) issuers(reports []oauth.TenantReport, checked map[string]bool) {
	for _, t := range reports {
		for _, i := range t.Issuers {
			if checked[t.ID+" "+i.ID] {
				continue
			}
			checked[t.ID+" "+i.ID] = true
			if i.Err != nil {
				d.add(isFault, "issuers", "%s of tenant %s (%s): %v", i.ID, t.ID, i.Issuer, i.Err)
			} else {
				d.add(isOK, "issuers", "%s of tenant %s (%s): its tokens can be verified", i.ID, t.ID, i.Issuer)
			}
		}
	}
}

// claims reports custom claims that nothing in the configuration yields.
func (d *doctor) claims(ctx context.Context, server *oauth.Server, checked map[string]bool) {
	unset, err := server.UnsetClaims(ctx, d.config.Tenants)
	if err != nil {
		d.add(isFault, "claims", "%v", err)
	}
	for _, u := range unset {
		text := fmt.Sprintf("client %s of tenant %s: %s", u.Client, u.Tenant, u)
		if !checked[text] {
			checked[text] = true
			d.add(isWarning, "claims", "%s", text)
		}
	}
}

// maxSuspensions is how many suspensions the doctor lists one by one.
const maxSuspensions = 20

// suspensions reports what is suspended.
func (d *doctor) suspensions(ctx context.Context, store *models.Store, roots *keys.Roots) {
	list, err := store.Suspensions(ctx, roots, "")
	if err != nil {
		d.add(isFault, "suspensions", "%v", err)
		return
	}
	list = slices.DeleteFunc(list, func(s models.Suspension) bool { return !s.Exists })
	for _, s := range list[:min(len(list), maxSuspensions)] {
		ref := models.Ref{Kind: s.Kind, Tenant: s.TenantID, ID: s.ID}
		d.add(isWarning, "suspensions", "%s is %s; to lift the suspension: %s", describe(ref), s, resumeWithoutConfig(ref))
	}
	if more := len(list) - maxSuspensions; more > 0 {
		d.add(isWarning, "suspensions", "%s; run latchkey suspend --list to see all of them", plural(more, "more suspension"))
	}
}

// plan reports what a start would do with the file, and returns whether the file
// has changes that no server has applied.
func (d *doctor) plan(ctx context.Context, store *models.Store, roots *keys.Roots) (changes bool) {
	if d.config.TenantsAtStart != settings.StartApply {
		return false
	}
	f, err := fileOf(d.config, roots)
	var plan *models.Started
	if err == nil {
		plan, err = store.PlanStart(ctx, d.config.Tenants, d.config.TenantsAtStart, f, roots, validate(d.config))
	}
	var faults settings.Faults
	switch {
	case errors.As(err, &faults):
		for _, fault := range faults.Named(d.config.Tenants) {
			d.add(isFault, "file", "a start would reject it: %s", fault)
		}
		return false
	case err != nil:
		d.add(isFault, "file", "%v", err)
		return false
	case plan.Ignored != "":
		d.add(isWarning, "file", "the next start does not apply the tenants of this file: %s", plan.Ignored)
	case plan.Notice != "":
		d.add(isWarning, "file", "%s", plan.Notice)
	case len(plan.Changes) > 0:
		d.add(isWarning, "file", "the next start makes %s; run latchkey apply --dry-run --replace to see them", plural(len(plan.Changes), "change"))
	default:
		d.add(isOK, "file", "the database matches the tenants of the file")
	}
	return len(plan.Changes) > 0
}

// onScratchDatabase applies the file to a temporary database, and checks the issuers
// of the file that have not been checked yet.
func (d *doctor) onScratchDatabase(ctx context.Context, roots *keys.Roots, checked map[string]bool) {
	folder, err := os.MkdirTemp("", "latchkey-doctor-")
	if err != nil {
		d.add(isSkipped, "issuers", "the tenants of the file were not checked: %v", err)
		return
	}
	defer os.RemoveAll(folder)
	store, err := models.Open(ctx, "sqlite:"+filepath.Join(folder, "latchkey.db"), models.Options{Log: quiet})
	if err != nil {
		d.add(isSkipped, "issuers", "the tenants of the file were not checked: %v", err)
		return
	}
	defer store.Close()
	err = store.Migrate(ctx)
	if err == nil {
		_, err = store.Apply(ctx, d.config.Tenants, roots, models.ApplyOptions{Replace: true, ServeFile: true, Validate: validate(d.config)})
	}
	var reports []oauth.TenantReport
	if err == nil {
		var server *oauth.Server
		if server, err = newServer(d.config, store, roots, quiet); err == nil {
			reports, err = server.Inspect(ctx)
			d.claims(ctx, server, checked)
		}
	}
	if err != nil {
		d.add(isFault, "file", "a start would reject it: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	d.issuers(reports, checked)
}
