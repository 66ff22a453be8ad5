package main

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/handlers"
	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/handlers/console"
)

// certificateInterval is how often a node checks the files of the TLS certificate.
const certificateInterval = 2 * time.Second

// errStopping makes /readyz fail during the shutdown delay of a node.
var errStopping = errors.New("the node is stopping")

// serve handles requests until ctx ends. It then continues for the shutdown
// delay while /readyz fails, so that load balancers stop sending requests first,
// and waits for requests in progress. Streams end with the background work.
func (n *node) serve(ctx context.Context, l *listeners) error {
	ready := &readiness{check: n.ready}
	metrics := handlers.NewMetrics(append(n.gauges(), l.gauges()...)...)
	metrics.Add(n.families()...)
	edge := handlers.Config{
		Issuer: n.config.Issuer, OAuth: n.oauth, Ready: func(ctx context.Context) error {
			if n.stopping.Load() {
				return errStopping
			}
			return ready.result(ctx)
		}, Timeout: requestTimeout, TrustedProxies: n.config.TrustedProxies,
		Metrics: metrics, Log: n.log, Stat: n.store.AddStat, DevIssuer: n.dev, Stopping: n.stopping.Load,
		AdminHere: n.config.AdminShared(), AdminLocal: n.config.AdminLoopback(),
	}
	if n.config.AdminListen != config.None {
		edge.Admin = &admin.Service{Store: n.store, OAuth: n.oauth, Keys: n.keys, BaseURL: n.config.Issuer, Log: n.log}
		if file := n.config.Console.GeoIPFile; file != "" {
			var err error
			if edge.Places, err = console.OpenPlaces(file); err != nil {
				return errors.Join(err, l.Close())
			}
			defer edge.Places.Close()
		}
	}
	handler, err := handlers.New(edge)
	var management http.Handler
	if err == nil && l.admin != nil {
		management, err = handlers.NewAdmin(edge)
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { n.oauth.Run(background) })
	running.Go(func() { n.runMaintenance(background) })
	running.Go(func() {
		n.report(background, func() error { return cmp.Or(n.localFault(), ready.recent()) })
	})
	running.Go(func() {
		n.reportUnsetClaims(background)
		n.checkIssuers(background)
	})
	running.Go(func() { n.store.Watch(background) })
	running.Go(func() { n.watch(background, l.certificate) })

	var servers []*http.Server
	failed := make(chan error, 3)
	begin := func(listener net.Listener, handler http.Handler) {
		server := n.server(handler)
		servers = append(servers, server)
		running.Go(func() { failed <- server.Serve(listener) })
	}
	begin(l.serving, handler)
	if l.metrics != nil {
		begin(l.metrics, metrics.Handler())
	}
	if l.admin != nil {
		begin(l.admin, management)
	}
	select {
	case <-ctx.Done():
		err = n.drain(failed)
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

// drain continues to serve for the shutdown delay, while /readyz fails and every
// response closes its connection.
func (n *node) drain(failed <-chan error) error {
	n.stopping.Store(true)
	delay := n.config.ShutdownDelay.Std()
	n.log.Info("stopping", "shutdown_delay", delay.String())
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case err := <-failed:
		return err
	}
}

// watch reloads the certificate when its files change and on SIGHUP.
func (n *node) watch(ctx context.Context, c *certificate) {
	tick := time.NewTicker(certificateInterval)
	defer tick.Stop()
	for {
		hangup := false
		select {
		case <-ctx.Done():
			return
		case <-n.hangups:
			hangup = true
		case <-tick.C:
		}
		switch {
		case c != nil:
			c.reload(hangup)
		case hangup:
			n.log.Info("SIGHUP ignored: no TLS certificate is configured, and the server reads other settings only at start")
		}
	}
}

// gauges returns the metrics of the listeners.
func (l *listeners) gauges() []handlers.Gauge {
	if l.certificate == nil {
		return nil
	}
	return []handlers.Gauge{{Name: "latchkey_tls_certificate_expiry_seconds", Help: "When the served TLS certificate expires, in seconds since 1970.",
		Value: func() float64 { return float64(l.certificate.notAfter().Unix()) }}}
}
