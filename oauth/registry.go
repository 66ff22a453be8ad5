package oauth

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/oauth/issuerkeys"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

const (
	// registryCheck is the interval at which a node checks for changes.
	registryCheck = 2 * time.Second
	// registryBound is how old a node's view of tenants, clients, issuers and
	// keys may be when the node uses it for a decision.
	registryBound = 5 * time.Second
)

// registry holds the tenants that a node serves and detects changes to them.
type registry struct {
	store   *models.Store
	keys    *keys.Roots
	base    string
	now     func() time.Time
	log     *slog.Logger
	sources *issuerkeys.Sources

	loading sync.Mutex // one load at a time

	nextMu      sync.Mutex
	next        *refreshCall // the call that requests may still join; nil: none
	refreshing  sync.Mutex   // one call at a time
	lastRefresh time.Time    // when the last one began

	mu        sync.RWMutex
	tenants   map[string]*Tenant // as last loaded
	stale     map[string]bool    // those that have changed since
	revisions map[string]int64
	checkedAt time.Time
}

// issuerOf returns the issuer URL of a tenant. That of the default tenant is
// the base URL.
func (r *registry) issuerOf(tenant string) string {
	if tenant == settings.DefaultTenant {
		return r.base
	}
	return r.base + "/t/" + tenant
}

// tenant returns the tenant as of at most registryBound ago, or
// models.ErrNotFound.
func (r *registry) tenant(ctx context.Context, id string) (*Tenant, error) {
	if !settings.ValidTenantID(id) {
		return nil, models.ErrNotFound
	}
	r.mu.RLock()
	t, fresh := r.tenants[id], r.fresh()
	if r.stale[id] {
		t = nil
	}
	_, known := r.revisions[id]
	r.mu.RUnlock()
	switch {
	case fresh && t != nil:
		return t, nil
	case fresh && !known:
		return nil, models.ErrNotFound
	case !fresh:
		if err := r.check(ctx); err != nil {
			return nil, err
		}
	}
	return r.load(ctx, id)
}

// lastKnown returns the tenant as last loaded, however long ago, or nil. It is
// for public documents, which should outlive an outage of the database.
func (r *registry) lastKnown(id string) *Tenant {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.tenants[id]
}

// loaded returns the tenants that this node has loaded.
func (r *registry) loaded() []*Tenant {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Collect(maps.Values(r.tenants))
}

// fresh reports whether the last check is recent enough for a decision. The
// caller holds r.mu.
func (r *registry) fresh() bool {
	age := r.now().Sub(r.checkedAt)
	return age >= 0 && age < registryBound
}

// check finds the tenants that have changed. They are loaded again when they
// are needed; until then, public documents are served as last loaded.
func (r *registry) check(ctx context.Context) error {
	started := r.now()
	revisions, err := r.store.TenantRevisions(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, t := range r.tenants {
		switch revision, there := revisions[id]; {
		case !there:
			delete(r.tenants, id)
		case revision != t.row.Revision && !r.stale[id]:
			r.log.Info("configuration changed", "tenant", id)
			r.stale[id] = true
		}
	}
	r.revisions, r.checkedAt = revisions, started
	return nil
}

// load loads a tenant, unless another request has just done so.
func (r *registry) load(ctx context.Context, id string) (*Tenant, error) {
	r.loading.Lock()
	defer r.loading.Unlock()
	r.mu.RLock()
	t, stale := r.tenants[id], r.stale[id]
	r.mu.RUnlock()
	if t != nil && !stale {
		return t, nil
	}
	config, err := r.store.TenantConfig(ctx, id)
	if err != nil {
		return nil, err
	}
	t = r.build(config)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tenants[id] = t
	delete(r.stale, id)
	return t, nil
}

// refreshPause is the minimum time between two checks that any caller can
// cause.
const refreshPause = 50 * time.Millisecond

// refreshCall is one check that several requests wait for.
type refreshCall struct {
	done chan struct{}
	err  error
}

// refreshNow loads the tenant again because a token names a key that this node
// does not know. Another node may just have made the key, and a token must not
// be reported as inactive because this node has missed that. Only a check that
// begins after the call can detect it. Anybody can name any key, so callers
// share the next check, and checks run one after the other with a pause between
// them.
func (r *registry) refreshNow(ctx context.Context, t *Tenant) (*Tenant, error) {
	r.nextMu.Lock()
	if r.next == nil {
		r.next = &refreshCall{done: make(chan struct{})}
		go r.runRefresh(r.next)
	}
	joined := r.next
	r.nextMu.Unlock()
	select {
	case <-joined.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if joined.err != nil {
		return nil, joined.err
	}
	return r.load(ctx, t.ID)
}

// runRefresh waits for its turn, stops further requests from joining, and
// checks.
func (r *registry) runRefresh(n *refreshCall) {
	r.refreshing.Lock()
	defer r.refreshing.Unlock()
	time.Sleep(time.Until(r.lastRefresh.Add(refreshPause)))
	r.nextMu.Lock()
	r.next, r.lastRefresh = nil, time.Now()
	r.nextMu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), registryBound)
	defer cancel()
	n.err = r.check(ctx)
	close(n.done)
}

// build compiles the configuration of a tenant. The rows were checked when they
// were written. If one does not compile now, build logs an error and the row is
// not used.
func (r *registry) build(c *models.TenantConfig) *Tenant {
	t := &Tenant{ID: c.ID, Issuer: r.issuerOf(c.ID), ownOrigin: originOf(r.base), row: c.Tenant, clients: map[string]*Client{}, clientIDs: map[string]bool{}, unusable: map[string]bool{}, attributeSources: map[string][]string{}}
	t.metadata = sync.OnceValues(t.buildMetadata)
	for _, row := range c.Clients {
		t.clientIDs[row.ID] = true
	}
	t.issuerRows = make(map[string]*models.TrustedIssuer, len(c.Issuers))
	for i, row := range c.Issuers {
		t.namespaces = append(t.namespaces, row.Settings)
		t.issuerRows[row.ID] = &c.Issuers[i]
		if row.Enabled() {
			for name := range row.Settings.UserAttributes {
				t.attributeSources[name] = append(t.attributeSources[name], row.AttributeSource(name))
			}
		}
	}
	log := r.log.With("tenant", c.ID)
	var err error
	if t.ring, err = keys.NewRing(r.keys, c.Keys, ownTypes...); err != nil {
		log.Error("cannot load signing keys", "error", err)
	}
	envs, err := expr.Environments()
	if err != nil {
		log.Error("cannot set up expressions", "error", err)
		return t
	}
	var unusable settings.Faults
	if t.ownClasses = compileClasses(envs.Class, c.ACR, "acr", &unusable); len(unusable) > 0 {
		log.Error("acr rules do not compile", "error", unusable)
	}
	for _, row := range c.Clients {
		client := &Client{Client: row, tenant: t}
		client.origins.Add(row.Settings.Origins...)
		t.origins.Add(row.Settings.Origins...) // also of an unusable client: its pages must not get the error for unlisted origins
		var faults settings.Faults
		client.claims = envs.Claim.CompileMapping(row.Settings.Claims, "claims", &faults)
		for name := range client.claims {
			if settings.ReservedClaim(name) { // apply rejects it, but the row has it
				faults.Add("claims."+name, "is a reserved name")
			}
		}
		if row.Settings.Allow != "" {
			if client.allow, err = envs.Allow.Compile(row.Settings.Allow, nil); err != nil {
				faults.Add("allow", "%v", err)
			}
		}
		if len(faults) > 0 {
			t.unusable["client "+row.ID] = true
			log.Error("cannot use the configuration of a client", "client", row.ID, "error", faults)
			continue
		}
		t.clients[row.ID] = client
	}
	for _, row := range c.Issuers {
		entry, err := r.newIssuerEntry(t, row)
		if err != nil {
			t.unusable["issuer "+row.Settings.Issuer] = true
			log.Error("cannot use the configuration of a trusted issuer", "issuer", row.Settings.Issuer, "error", err)
			continue
		}
		t.issuers = append(t.issuers, entry)
	}
	return t
}

// run checks for changes until ctx ends.
func (r *registry) run(ctx context.Context) {
	tick := time.NewTicker(registryCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := r.check(ctx); err != nil && !errors.Is(err, context.Canceled) {
				r.log.Warn("cannot check for configuration changes", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
