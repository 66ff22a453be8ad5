package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"github.com/latchkey/latchkey/config"
)

// listeners are the addresses that a server listens on.
type listeners struct {
	serving     net.Listener
	metrics     net.Listener // nil: metrics are not served
	certificate *certificate // nil: plain HTTP
}

// openListeners opens them. It comes first: a server that cannot serve must
// not have changed the deployment.
func openListeners(c *config.Config, log *slog.Logger) (_ *listeners, err error) {
	l := &listeners{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if l.serving, err = net.Listen("tcp", c.Listen); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if l.metrics, err = listenForMetrics(c, log); err != nil {
		return nil, err
	}
	if c.TLS.CertFile == "" {
		return l, nil
	}
	if l.certificate, err = loadCertificate(c.TLS, log); err != nil {
		return nil, err
	}
	l.serving = tls.NewListener(l.serving, &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: l.certificate.get, NextProtos: []string{"h2", "http/1.1"},
	})
	return l, nil
}

// listenForMetrics returns nil if no metrics are served. Two nodes on one
// machine share the default address, which must keep neither from serving; an
// address that somebody chose is expected to work.
func listenForMetrics(c *config.Config, log *slog.Logger) (net.Listener, error) {
	if c.MetricsListen == config.NoMetrics {
		return nil, nil
	}
	l, err := net.Listen("tcp", c.MetricsListen)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE) && !c.Given("metrics_listen"):
		log.Warn("metrics are not served: the default address is taken; set metrics_listen to another one, or to none", "address", c.MetricsListen)
		return nil, nil
	default:
		return nil, fmt.Errorf("metrics_listen: %w", err)
	}
}

// Close closes what was opened.
func (l *listeners) Close() (err error) {
	for _, listener := range []net.Listener{l.serving, l.metrics} {
		if listener != nil {
			err = errors.Join(err, listener.Close())
		}
	}
	return err
}
