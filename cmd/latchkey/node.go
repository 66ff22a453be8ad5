package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/handlers"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

// Limits of a connection. A request is a small form, an answer a few KiB.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	requestTimeout    = 10 * time.Second // for everything that a handler waits for: a database that hangs is one that is away
	writeTimeout      = 20 * time.Second // longer, so that it can still say so; shutdownTimeout too
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	shutdownTimeout   = 15 * time.Second
)

// maxClockOffset is how far the database's clock may differ before the node
// calls itself not ready.
const maxClockOffset = 5 * time.Second

// node is one running server.
type node struct {
	config *config.Config
	log    *slog.Logger
	store  *models.Store
	oauth  *oauth.Server
	dev    *oauth.ClientTokenIssuer // development only
}

// newNode opens the database, applies what the configuration says of tenants,
// and makes the keys that are missing. The caller closes the store.
func newNode(ctx context.Context, c *config.Config, log *slog.Logger) (*node, error) {
	store, keys, err := openAll(ctx, c, log)
	if err != nil {
		return nil, err
	}
	server := oauth.New(oauth.Config{Issuer: c.Issuer, Store: store, Keys: keys, Log: log, IntrospectionMaxAge: c.Introspection.MaxAge.Of()})
	n := &node{config: c, log: log, store: store, oauth: server}
	if err := n.configure(ctx, keys); err != nil {
		store.Close()
		return nil, err
	}
	return n, nil
}

func (n *node) configure(ctx context.Context, keys *oauth.Keys) error {
	if err := n.oauth.Reseal(ctx); err != nil {
		return err
	}
	tenants := n.config.Tenants
	if len(tenants) == 0 {
		existing, err := n.store.TenantRevisions(ctx)
		if err != nil {
			return err
		}
		if len(existing) == 0 {
			tenants = []models.TenantSpec{{ID: models.DefaultTenant}}
		}
	}
	changes, err := n.store.Apply(ctx, tenants, keys, models.ApplyOptions{})
	if err != nil {
		return fmt.Errorf("apply the configuration: %w", err)
	}
	for _, c := range changes {
		n.log.Info("configuration applied", "tenant", c.Tenant, "noun", c.Noun, "id", c.ID, "created", c.Created)
	}
	return n.oauth.EnsureSigningKeys(ctx)
}

// openListeners opens what is listened on. It comes first: a server that cannot serve must
// not have changed the deployment.
func openListeners(c *config.Config) (serving, metrics net.Listener, err error) {
	serving, err = net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("listen: %w", err)
	}
	if c.MetricsListen != config.NoMetrics {
		if metrics, err = net.Listen("tcp", c.MetricsListen); err != nil {
			serving.Close()
			return nil, nil, fmt.Errorf("metrics_listen: %w", err)
		}
	}
	if t := c.TLS; t.CertFile != "" {
		certificate, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("tls.cert_file, tls.key_file: %w", err), closeAll(serving, metrics))
		}
		serving = tls.NewListener(serving, &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"},
		})
	}
	return serving, metrics, nil
}

// closeAll closes the listeners that were opened.
func closeAll(listeners ...net.Listener) (err error) {
	for _, l := range listeners {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
	}
	return err
}

// gauges are what the node tells of its store and its event log.
func (n *node) gauges() []handlers.Gauge {
	return []handlers.Gauge{
		{Name: "latchkey_database_clock_offset_seconds", Help: "How far the database's clock is ahead of this node's.",
			Value: func() float64 { return n.store.ClockOffset().Seconds() }},
		{Name: "latchkey_event_log_age_seconds", Help: "How long ago this node last read what was revoked.",
			Value: func() float64 { return n.oauth.LogAge().Seconds() }},
		{Name: "latchkey_revocation_streams", Help: "Streams of revocations that are open at this node.",
			Value: func() float64 { return float64(n.oauth.Streams()) }},
	}
}

// serve answers until ctx ends, then lets requests under way finish; streams
// end with what runs in the background.
func (n *node) serve(ctx context.Context, serving, metrics net.Listener) error {
	m := handlers.NewMetrics(n.gauges()...)
	handler, err := handlers.New(handlers.Config{
		Issuer: n.config.Issuer, OAuth: n.oauth, Ready: n.ready, Timeout: requestTimeout, TrustedProxies: n.config.TrustedProxies,
		Metrics: m, Log: n.log, DevIssuer: n.dev,
	})
	if err != nil {
		return err
	}
	background, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { n.oauth.Run(background) })
	running.Go(func() { n.keepHouse(background) })

	var servers []*http.Server
	failed := make(chan error, 2)
	begin := func(listener net.Listener, handler http.Handler) {
		server := n.server(handler)
		servers = append(servers, server)
		running.Go(func() { failed <- server.Serve(listener) })
	}
	begin(serving, handler)
	if metrics != nil {
		begin(metrics, m.Handler())
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	stop()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(ending))
	}
	running.Wait()
	return err
}

func (n *node) server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
}

// ready says what keeps this node from serving.
func (n *node) ready(ctx context.Context) error {
	if err := n.store.Ping(ctx); err != nil {
		return err
	}
	if offset := n.store.ClockOffset().Abs(); offset > maxClockOffset {
		return fmt.Errorf("the clocks of this node and the database differ by %s", offset)
	}
	return errors.Join(n.oauth.Following(), n.oauth.SigningReady(ctx))
}

// keepHouse does what has to be done now and then: every node measures its
// clock, and one at a time, by a lease, looks after rows and keys.
func (n *node) keepHouse(ctx context.Context) {
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
			n.log.Warn("measure the database's clock", "error", err)
			continue
		}
		if err := n.tidy(ctx, holder, 2*every); err != nil && ctx.Err() == nil {
			n.log.Warn("keep house", "error", err)
		}
	}
}

// tidy prunes, batch by batch, for as long as the lease is held, and then does
// the rest. What fails does not keep the next thing from being done.
func (n *node) tidy(ctx context.Context, holder string, lease time.Duration) error {
	for {
		held, err := n.store.Lease(ctx, "prune", holder, n.store.Now(), lease)
		if err != nil || !held {
			return err
		}
		more, err := n.store.Prune(ctx, n.store.Now())
		if more && err == nil {
			continue
		}
		return errors.Join(err, n.store.Sweep(ctx), n.store.ForgetDevices(ctx), n.store.EndStatusLists(ctx),
			n.oauth.EnsureSigningKeys(ctx), n.store.ExpireSigningKeys(ctx, n.store.Now()), n.oauth.Reseal(ctx))
	}
}
