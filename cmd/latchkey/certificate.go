package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/latchkey/latchkey/config"
)

// certificate is the served TLS certificate. It is reloaded when its files change;
// a pair that cannot be served never replaces a usable one.
type certificate struct {
	files config.TLS
	log   *slog.Logger

	mu      sync.RWMutex
	current *tls.Certificate
	seen    [2][]byte // contents of the files at the last check
	faulty  bool      // the pair in seen cannot be served
	warned  bool      // the log has reported it
}

// loadCertificate reads the pair for the first time.
func loadCertificate(files config.TLS, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: files, log: log}
	seen, err := c.read()
	if err == nil {
		c.current, err = parsePair(seen)
	}
	if err != nil {
		return nil, fmt.Errorf("tls.cert_file, tls.key_file: %w", err)
	}
	c.seen = seen
	if err := valid(c.current, time.Now()); err != nil {
		log.Warn("the TLS certificate is outside its validity period: clients will reject it", "file", files.CertFile, "error", err)
	}
	return c, nil
}

func (c *certificate) read() (pair [2][]byte, err error) {
	if pair[0], err = os.ReadFile(c.files.CertFile); err != nil {
		return pair, err
	}
	pair[1], err = os.ReadFile(c.files.KeyFile)
	return pair, err
}

func parsePair(pair [2][]byte) (*tls.Certificate, error) {
	parsed, err := tls.X509KeyPair(pair[0], pair[1])
	return &parsed, err
}

// valid returns an error if clients would reject the certificate because of its dates.
func valid(c *tls.Certificate, now time.Time) error {
	switch {
	case c.Leaf == nil:
		return nil
	case now.After(c.Leaf.NotAfter):
		return fmt.Errorf("expired at %s", c.Leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.Leaf.NotBefore):
		return fmt.Errorf("not valid before %s", c.Leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// get implements tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current, nil
}

// notAfter returns when the served certificate expires.
func (c *certificate) notAfter() time.Time {
	current, _ := c.get(nil)
	if current.Leaf == nil {
		return time.Time{}
	}
	return current.Leaf.NotAfter
}

// reload reads the files. It reports a pair that cannot be served once: at once if
// an operator requested the reload, otherwise at the second check, because a
// certificate and its key are seldom replaced at the same moment.
func (c *certificate) reload(requested bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pair, err := c.read()
	unchanged := bytes.Equal(pair[0], c.seen[0]) && bytes.Equal(pair[1], c.seen[1])
	c.seen = pair
	if unchanged && !c.faulty {
		if requested {
			c.log.Info("the TLS certificate has not changed", "file", c.files.CertFile, "expires", c.current.Leaf.NotAfter)
		}
		return
	}
	next, parseErr := parsePair(pair)
	if err = errors.Join(err, parseErr); err == nil {
		if late := valid(next, time.Now()); late != nil && valid(c.current, time.Now()) == nil {
			err = late
		}
	}
	if err == nil {
		c.current, c.faulty, c.warned = next, false, false
		c.log.Info("the TLS certificate was reloaded", "file", c.files.CertFile, "expires", next.Leaf.NotAfter)
		return
	}
	if report := requested || unchanged && !c.warned; report {
		c.log.Warn("the TLS certificate was not reloaded: the previous one is served until it expires",
			"cert_file", c.files.CertFile, "key_file", c.files.KeyFile, "error", err, "expires", c.current.Leaf.NotAfter)
		c.warned = true
	} else if !unchanged {
		c.warned = false
	}
	c.faulty = true
}
