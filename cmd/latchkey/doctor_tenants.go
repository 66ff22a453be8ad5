package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// served examines what the database holds. It reports whether the root secrets fit.
func (d *doctor) served(ctx context.Context, store *models.Store, keys *oauth.Keys, asked map[string]bool) bool {
	server, err := newServer(d.config, store, keys, quiet)
	if err != nil {
		d.add(isFault, "configuration", "%v", err)
		return false
	}
	if err := server.CheckRootSecret(ctx); err != nil {
		d.add(isFault, "root secrets", "%v: configure the root secret of this database, or the database of this root secret", err)
		return false
	}
	d.roots(ctx, server)
	reports, err := server.Inspect(ctx)
	if err != nil {
		d.add(isFault, "tenants", "%v", err)
		return false
	}
	d.signing(reports)
	d.issuers(reports, asked)
	d.suspensions(ctx, store, keys)
	if addresses, err := store.Addresses(ctx); err == nil {
		d.proxyAddress(addresses)
	}
	return true
}

// roots reports what still depends on a root secret that does not issue.
func (d *doctor) roots(ctx context.Context, server *oauth.Server) {
	status, err := server.SecretStatus(ctx)
	if err != nil {
		d.add(isFault, "root secrets", "%v", err)
		return
	}
	const see = "; latchkey secret status has the numbers"
	for _, r := range status {
		switch {
		case r.Issues && r.Accepted:
			d.add(isOK, "root secrets", "%s issues", r.Fingerprint)
		case r.Accepted && r.Later:
			d.add(isOK, "root secrets", "%s is the next one: put it first when every server accepts it", r.Fingerprint)
		case !r.Accepted && r.Needed():
			d.add(isFault, "root secrets", "%s is not configured, and what depends on it is refused: add it behind the others, or let it go"+see, r.Fingerprint)
		case r.Accepted && r.Needed():
			d.add(isOK, "root secrets", "%s is still needed"+see, r.Fingerprint)
		case r.Accepted:
			d.add(isWarning, "root secrets", "nothing depends on %s any more: take it out of the configuration", r.Fingerprint)
		}
	}
}

// signing reports tenants that cannot sign, and clients that cannot be served.
func (d *doctor) signing(reports []oauth.TenantReport) {
	faults := 0
	for _, t := range reports {
		if t.ID == settings.DefaultTenant {
			d.kids = t.Kids
		}
		if t.Signing != nil {
			faults++
			d.add(isFault, "signing keys", "tenant %s: %v; latchkey keys list shows its keys, and a start makes one where there is none", t.ID, t.Signing)
		}
		for _, client := range t.Broken {
			d.add(isFault, "clients", "%s of tenant %s cannot be served: an expression of it is not valid in this release; latchkey apply --dry-run names it", client, t.ID)
		}
	}
	if faults == 0 {
		d.add(isOK, "signing keys", "%s can sign", plural(len(reports), "tenant"))
	}
}

// issuers reports trusted issuers whose tokens cannot be verified.
func (d *doctor) issuers(reports []oauth.TenantReport, asked map[string]bool) {
	for _, t := range reports {
		for _, i := range t.Issuers {
			if asked[t.ID+" "+i.ID] {
				continue
			}
			asked[t.ID+" "+i.ID] = true
			if i.Err != nil {
				d.add(isFault, "issuers", "%s of tenant %s (%s): %v", i.ID, t.ID, i.Issuer, i.Err)
			} else {
				d.add(isOK, "issuers", "%s of tenant %s (%s): its tokens can be verified", i.ID, t.ID, i.Issuer)
			}
		}
	}
}

// mostSuspensions bounds how many suspensions have a line of their own.
const mostSuspensions = 20

// suspensions reports what is switched off, whatever any configuration says.
func (d *doctor) suspensions(ctx context.Context, store *models.Store, keys *oauth.Keys) {
	list, err := store.Suspensions(ctx, keys, "")
	if err != nil {
		d.add(isFault, "suspensions", "%v", err)
		return
	}
	list = slices.DeleteFunc(list, func(s models.Suspension) bool { return !s.Exists })
	for _, s := range list[:min(len(list), mostSuspensions)] {
		ref := models.Ref{Noun: s.Noun, Tenant: s.TenantID, ID: s.ID}
		d.add(isWarning, "suspensions", "%s is %s; to switch it on again: %s", describe(ref), s, resumeWords(ref))
	}
	if more := len(list) - mostSuspensions; more > 0 {
		d.add(isWarning, "suspensions", "suspended beside those: %d; latchkey suspend --list has them all", more)
	}
}

// weigh reports what a start would do with the file. It reports whether there is
// something in it that no server has applied.
func (d *doctor) weigh(ctx context.Context, store *models.Store, keys *oauth.Keys) (changes bool) {
	if d.config.TenantsAtStart != settings.StartApply {
		return false
	}
	f, err := fileOf(d.config, keys)
	var plan *models.Started
	if err == nil {
		plan, err = store.PlanStart(ctx, d.config.Tenants, d.config.TenantsAtStart, f, keys, validate(d.config))
	}
	var faults settings.Faults
	switch {
	case errors.As(err, &faults):
		for _, fault := range faults.Named(d.config.Tenants) {
			d.add(isFault, "file", "a start refuses it: %s", fault)
		}
		return false
	case err != nil:
		d.add(isFault, "file", "%v", err)
		return false
	case plan.Ignored != "":
		d.add(isWarning, "file", "a start does not apply the tenants of this file: %s", plan.Ignored)
	case plan.Notice != "":
		d.add(isWarning, "file", "%s", plan.Notice)
	case len(plan.Changes) > 0:
		d.add(isWarning, "file", "the next start makes %s to what is served; latchkey apply --dry-run --replace prints the difference", plural(len(plan.Changes), "change"))
	default:
		d.add(isOK, "file", "its tenants are what is served")
	}
	return len(plan.Changes) > 0
}

// onStandIn applies the file to a database that is thrown away, and asks the
// issuers of it that have not been asked.
func (d *doctor) onStandIn(ctx context.Context, keys *oauth.Keys, asked map[string]bool) {
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
		_, err = store.Apply(ctx, d.config.Tenants, keys, models.ApplyOptions{Replace: true, ServeFile: true, Validate: validate(d.config)})
	}
	var reports []oauth.TenantReport
	if err == nil {
		var server *oauth.Server
		if server, err = newServer(d.config, store, keys, quiet); err == nil {
			reports, err = server.Inspect(ctx)
		}
	}
	if err != nil {
		d.add(isFault, "file", "a start refuses it: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	d.issuers(reports, asked)
}
