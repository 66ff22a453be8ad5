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

// listeners holds the open listeners of a server.
type listeners struct {
	serving     net.Listener
	metrics     net.Listener // nil: metrics are not served
	admin       net.Listener // nil: the admin API is not served, or serving serves it too
	certificate *certificate // nil: plain HTTP
}

// openListeners opens the configured addresses. A start calls it first, because a
// server that cannot listen must not change the deployment.
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
	if l.metrics, err = listenOptional("metrics_listen", c.MetricsListen, "metrics", c, log); err != nil {
		return nil, err
	}
	if !c.AdminShared() {
		if l.admin, err = listenOptional("admin_listen", c.AdminListen, "the admin API", c, log); err != nil {
			return nil, err
		}
	}
	if c.TLS.CertFile == "" {
		return l, nil
	}
	if l.certificate, err = loadCertificate(c.TLS, log); err != nil {
		return nil, err
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: l.certificate.get, NextProtos: []string{"h2", "http/1.1"}}
	l.serving = tls.NewListener(l.serving, secure)
	if l.admin != nil && !c.AdminLoopback() {
		l.admin = tls.NewListener(l.admin, secure)
	}
	return l, nil
}

// listenOptional returns nil if the address is "none". Two nodes on one machine share
// the default addresses, and the second must start nevertheless. If an operator has
// configured the address, failing to listen on it is an error.
func listenOptional(setting, address, what string, c *config.Config, log *slog.Logger) (net.Listener, error) {
	if address == config.None {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE) && !c.Given(setting):
		log.Warn(fmt.Sprintf("not serving %s: the default address is in use; set %s to another address, or to none", what, setting), "address", address)
		return nil, nil
	default:
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
}

// Close closes the open listeners.
func (l *listeners) Close() (err error) {
	for _, listener := range []net.Listener{l.serving, l.metrics, l.admin} {
		if listener != nil {
			err = errors.Join(err, listener.Close())
		}
	}
	return err
}
