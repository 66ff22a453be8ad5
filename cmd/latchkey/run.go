package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/handlers"
	"github.com/latchkey/latchkey/handlers/admin"
)

// certificateEvery is how often the files of the TLS certificate are looked at.
const certificateEvery = 2 * time.Second

// errStopping makes /readyz fail while a node that was told to stop still serves.
var errStopping = errors.New("the node is stopping")

// serve answers until ctx ends. It then goes on for the shutdown delay, not
// ready, so that load balancers turn away first, and lets requests under way
// finish; streams end with what runs in the background.
func (n *node) serve(ctx context.Context, l *listeners) error {
	ready := &readiness{look: n.ready}
	metrics := handlers.NewMetrics(append(n.gauges(), l.gauges()...)...)
	metrics.Add(n.families()...)
	edge := handlers.Config{
		Issuer: n.config.Issuer, OAuth: n.oauth, Ready: func(ctx context.Context) error {
			if n.stopping.Load() {
				return errStopping
			}
			return ready.ask(ctx)
		}, Timeout: requestTimeout, TrustedProxies: n.config.TrustedProxies,
		Metrics: metrics, Log: n.log, DevIssuer: n.dev, Stopping: n.stopping.Load,
		AdminHere: n.config.AdminShared(), AdminLocal: n.config.AdminLoopback(),
	}
	if n.config.AdminListen != config.None {
		edge.Admin = &admin.Service{Store: n.store, OAuth: n.oauth, Keys: n.keys, BaseURL: n.config.Issuer, Log: n.log}
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
	running.Go(func() { n.keepHouse(background) })
	running.Go(func() { n.countSessions(background) })
	running.Go(func() { n.checkIssuers(background) })
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
		err = n.turnAway(failed)
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

// turnAway serves on for the shutdown delay, not ready and closing connections
// after each answer.
func (n *node) turnAway(failed <-chan error) error {
	n.stopping.Store(true)
	delay := n.config.ShutdownDelay.Of()
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

// watch reloads the certificate when its files change, and at SIGHUP.
func (n *node) watch(ctx context.Context, c *certificate) {
	tick := time.NewTicker(certificateEvery)
	defer tick.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-n.hangups:
			asked = true
		case <-tick.C:
		}
		switch {
		case c != nil:
			c.reload(asked)
		case asked:
			n.log.Info("SIGHUP ignored: there is no TLS certificate to reload, and other settings are read at start only")
		}
	}
}

// gauges report on the listeners.
func (l *listeners) gauges() []handlers.Gauge {
	if l.certificate == nil {
		return nil
	}
	return []handlers.Gauge{{Name: "latchkey_tls_certificate_expiry_seconds", Help: "When the TLS certificate that is served expires, in seconds since 1970.",
		Value: func() float64 { return float64(l.certificate.notAfter().Unix()) }}}
}
