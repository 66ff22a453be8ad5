package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/handlers"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

// Limits of a connection. A request is a small form, and a response a few KiB.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	requestTimeout    = 10 * time.Second // for everything that a handler waits for: a hanging database counts as unreachable
	writeTimeout      = 20 * time.Second // longer than requestTimeout, so that the handler can still report it; shutdownTimeout too
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	shutdownTimeout   = 15 * time.Second
)

// maxClockOffset is the largest difference to the database's clock with which a
// node is ready.
const maxClockOffset = 5 * time.Second

// node is one running server.
type node struct {
	config *config.Config
	log    *slog.Logger
	store  *models.Store
	oauth  *oauth.Server
	keys   *keys.Roots
	dev    *oauth.ClientTokenIssuer // development only

	hangups     chan os.Signal // receives SIGHUP; nil: the default action applies
	logLost     func() uint64  // counts lost log lines; nil: not counted
	fileIgnored bool           // the start did not apply the tenants of the file
	stopping    atomic.Bool    // during the shutdown delay
}

// newNode opens the database, applies the tenants of the configuration, and
// creates missing signing keys. The caller closes the store.
func newNode(ctx context.Context, c *config.Config, log *slog.Logger) (*node, error) {
	store, roots, err := openAll(ctx, c, log)
	if err != nil {
		return nil, err
	}
	server, err := newServer(c, store, roots, log)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	n := &node{config: c, log: log, store: store, oauth: server, keys: roots}
	if err := n.configure(ctx, roots); err != nil {
		store.Close()
		return nil, err
	}
	return n, nil
}

func (n *node) configure(ctx context.Context, roots *keys.Roots) error {
	if err := n.oauth.Reseal(ctx); err != nil {
		return err
	}
	f, err := fileOf(n.config, roots)
	if err != nil {
		return err
	}
	started, err := n.store.Start(ctx, n.config.Tenants, n.config.TenantsAtStart, f, roots, validate(n.config))
	if err != nil {
		return fmt.Errorf("apply the configuration: %w", err)
	}
	n.reportStart(started)
	if err := n.reportSuspended(ctx, roots); err != nil {
		return err
	}
	return n.oauth.EnsureSigningKeys(ctx)
}

// reportStart logs what the start did with the tenants of the configuration.
func (n *node) reportStart(s *models.Started) {
	if n.fileIgnored = s.Ignored != ""; n.fileIgnored {
		n.log.Warn("did not apply the tenants of the configuration file; serving those in the database", "reason", s.Ignored)
	}
	if s.Notice != "" {
		n.log.Warn("applied the tenants of the configuration file", "notice", s.Notice)
	}
	if s.Default {
		n.log.Info("created an empty tenant because the database had none", "tenant", settings.DefaultTenant)
		s.Changes = nil
	}
	for _, c := range s.Changes {
		n.log.Info("configuration applied", "tenant", c.Tenant, "kind", c.Kind, "id", c.ID, "created", c.Created)
	}
	for _, name := range s.Released {
		n.log.Info("no longer managed by the configuration file", "object", name)
	}
}

// reportSuspended logs which objects of the configuration are suspended.
func (n *node) reportSuspended(ctx context.Context, roots *keys.Roots) error {
	list, err := n.store.SuspendedAmong(ctx, roots, n.config.Tenants)
	for _, s := range list {
		n.log.Warn("suspended, regardless of the configuration file; latchkey resume lifts the suspension",
			"tenant", s.TenantID, "kind", s.Kind, "id", s.ID, "since", stamp(s.SuspendedAt), "by", s.SuspendedBy, "reason", s.Reason)
	}
	return err
}

// gauges returns the metrics of the node's store, event log and log.
func (n *node) gauges() []handlers.Gauge {
	list := []handlers.Gauge{
		{Name: "latchkey_database_clock_offset_seconds", Help: "How far the database's clock is ahead of this node's.",
			Value: func() float64 { return n.store.ClockOffset().Seconds() }},
		{Name: "latchkey_event_log_age_seconds", Help: "How long ago this node last read the event log.",
			Value: func() float64 { return n.oauth.LogAge().Seconds() }},
		{Name: "latchkey_revocation_streams", Help: "Open revocation streams of this node.",
			Value: func() float64 { return float64(n.oauth.Streams()) }},
		{Name: "latchkey_configuration_file_ignored", Help: "1 if this node did not apply the tenants of its configuration file at start; the log has the reason.",
			Value: func() float64 {
				if n.fileIgnored {
					return 1
				}
				return 0
			}},
	}
	list = append(list,
		handlers.Gauge{Name: "latchkey_signing_queue", Help: "Requests that are waiting to sign a token.",
			Value: func() float64 { return float64(n.oauth.Load().Waiting) }},
		handlers.Gauge{Name: "latchkey_signing_wait_seconds", Help: "Estimated time for which a new request would wait to sign its token.",
			Value: func() float64 { return n.oauth.Load().Wait.Seconds() }},
		handlers.Gauge{Name: "latchkey_overload_refusals_total", Help: "Requests rejected with 503 because too many signatures were waiting.", Rises: true,
			Value: func() float64 { return float64(n.oauth.Load().Refusals) }})
	list = append(list, deliveryGauges(n.oauth.Deliverer().Statuses)...)
	list = append(list, poolGauges(n.store.Pool)...)
	if n.logLost != nil {
		list = append(list, handlers.Gauge{Name: "latchkey_log_lines_lost_total", Help: "Log lines that could not be written.", Rises: true,
			Value: func() float64 { return float64(n.logLost()) }})
	}
	return list
}

// families returns the metrics that have a label.
func (n *node) families() []handlers.Family {
	series := new(sessionSeries)
	return append(issuerFamilies(n.oauth.IssuerFetches), []handlers.Family{
		deliveryFamily(n.oauth.Deliverer().Counts),
		{Name: "latchkey_events_total", Help: "Events that this node has committed, by type.", Label: "type", Rises: true,
			Values: n.store.EventCounts},
		{Name: "latchkey_sessions", Help: "Sessions of the whole deployment, by tenant and client; (other) sums those without a series of their own.", Labels: []string{"tenant", "client"},
			Samples: func() []handlers.Sample {
				return series.samples(n.store.SessionCounts(), n.store.ClientSessionCounts())
			}},
	}...)
}

func (n *node) server(handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(n.config.BehindProxy) // some proxies use it to reach the server
	return &http.Server{
		Protocols:         protocols,
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
}

// ready returns an error that explains why this node cannot serve.
func (n *node) ready(ctx context.Context) error {
	if err := n.store.Ping(ctx); err != nil {
		return err
	}
	return errors.Join(n.localFault(), n.oauth.SigningReady(ctx))
}

// runMaintenance does the periodic work until ctx ends. Every node measures its
// clock; a lease lets one node at a time maintain rows and keys.
func (n *node) runMaintenance(ctx context.Context) {
	const every = 30 * time.Second
	holder := rand.Text()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := n.store.MeasureClock(ctx); err != nil {
			n.log.Warn("could not measure the clock of the database", "error", err)
			continue
		}
		if err := n.maintain(ctx, holder, 2*every); err != nil && ctx.Err() == nil {
			n.log.Warn("maintenance failed", "error", err)
		}
	}
}

// syncSessionCounts stores how many sessions began and ended at this node, and its
// statistics, under a name that no other node has.
func (n *node) syncSessionCounts(ctx context.Context, name string) {
	if err := n.store.SyncSessionCounts(ctx, name); err != nil && ctx.Err() == nil {
		n.log.Warn("could not store the number of sessions", "error", err)
	}
	if err := n.store.SyncStats(ctx, name); err != nil && ctx.Err() == nil {
		n.log.Warn("could not store the statistics", "error", err)
	}
}

// maintain prunes batch by batch while it holds the lease, and then does the other
// tasks. A task that fails does not prevent the next one.
func (n *node) maintain(ctx context.Context, holder string, lease time.Duration) error {
	for {
		held, err := n.store.Lease(ctx, "prune", holder, n.store.Now(), lease)
		if err != nil || !held {
			return err
		}
		more, err := n.store.Prune(ctx, n.store.Now())
		if more && err == nil {
			continue
		}
		return errors.Join(err, n.store.Sweep(ctx), n.store.ForgetDevices(ctx), n.deleteUnseenUsers(ctx), n.store.FinishDeletions(ctx), n.store.EndStatusLists(ctx), n.store.EndPreviousSecrets(ctx),
			n.oauth.EnsureSigningKeys(ctx), n.store.ExpireSigningKeys(ctx, n.store.Now()), n.oauth.Reseal(ctx), n.store.RecountSessions(ctx), n.store.PruneStats(ctx), n.store.PruneNodes(ctx), n.store.IndexAttributes(ctx))
	}
}

func (n *node) deleteUnseenUsers(ctx context.Context) error {
	deleted, err := n.store.DeleteUnseenUsers(ctx)
	if deleted > 0 {
		n.log.Info("deleted users who have not signed in within the user_retention of their tenant", "users", deleted)
	}
	return err
}
