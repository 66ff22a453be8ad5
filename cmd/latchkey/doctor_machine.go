package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/models"
)

// renewBefore is how long before its expiry a certificate should have been renewed.
// ACME clients renew about a month before expiry.
const renewBefore = 14 * 24 * time.Hour

// files checks which files with secrets other users can read or change.
func (d *doctor) files() {
	exposed, total := exposedFiles(d.config)
	for _, f := range exposed {
		result := isWarning
		if f.may == "change" {
			result = isFault
		}
		d.add(result, "files", "other users of this machine can %s %s (%s), which contains secrets: run chmod 600 on it", f.may, f.Path, f.Setting)
	}
	if len(exposed) == 0 && total > 0 {
		d.add(isOK, "files", "other users cannot read the %s with secrets", plural(total, "file"))
	}
}

// certificate checks the TLS certificate and its key.
func (d *doctor) certificate(now time.Time) {
	files := d.config.TLS
	if files.CertFile == "" || files.KeyFile == "" {
		return
	}
	c, err := loadCertificate(files, quiet)
	if err != nil {
		d.add(isFault, "tls", "%v", err)
		return
	}
	served, _ := c.get(nil)
	issuer, err := url.Parse(d.config.Issuer)
	if err == nil && issuer.Hostname() != "" {
		if err := served.Leaf.VerifyHostname(issuer.Hostname()); err != nil {
			d.add(isFault, "tls", "%s is not valid for the host of issuer: %v", files.CertFile, err)
		}
	}
	switch expiry := stamp(models.At(c.notAfter())); {
	case valid(served, now) != nil:
		d.add(isFault, "tls", "clients will reject %s: %v", files.CertFile, valid(served, now))
	case c.notAfter().Sub(now) < renewBefore:
		d.add(isWarning, "tls", "%s expires at %s: renew it; a running server reloads the files automatically", files.CertFile, expiry)
	default:
		d.add(isOK, "tls", "%s is valid until %s", files.CertFile, expiry)
	}
}

// ports checks that the addresses are free, or that a Latchkey server uses them.
func (d *doctor) ports(ctx context.Context) {
	c := d.config
	if _, _, err := net.SplitHostPort(c.Listen); err == nil {
		l, err := net.Listen("tcp", c.Listen)
		switch {
		case err == nil:
			l.Close()
			d.add(isOK, "listen", "%s is free", c.Listen)
		case errors.Is(err, syscall.EADDRINUSE) && checkHealth(ctx, c) == nil:
			d.add(isOK, "listen", "a server is running at %s", c.Listen)
		case errors.Is(err, syscall.EADDRINUSE):
			d.add(isFault, "listen", "another program uses %s: stop it, or set listen to another address", c.Listen)
		default:
			d.add(isFault, "listen", "%v", err)
		}
	}
	d.metricsPort(ctx)
	d.adminPort(ctx)
}

func (d *doctor) metricsPort(ctx context.Context) {
	c := d.config
	if _, _, err := net.SplitHostPort(c.MetricsListen); err != nil {
		return // none, or a fault of the configuration
	}
	l, err := listenOptional("metrics_listen", c.MetricsListen, "metrics", c, quiet)
	switch {
	case l != nil:
		l.Close()
		d.add(isOK, "metrics_listen", "%s is free", c.MetricsListen)
	case servesMetrics(ctx, c.MetricsListen):
		d.add(isOK, "metrics_listen", "a server publishes metrics at %s", c.MetricsListen)
	case err == nil:
		d.add(isWarning, "metrics_listen", "the default address %s is in use, so a server would start without metrics: set metrics_listen", c.MetricsListen)
	default:
		d.add(isFault, "metrics_listen", "%v", err)
	}
}

// adminPort checks the address of the admin API. Whether it may serve plain HTTP is a
// check of the configuration.
func (d *doctor) adminPort(ctx context.Context) {
	c := d.config
	if _, _, err := net.SplitHostPort(c.AdminListen); err != nil {
		return // none, or a fault of the configuration
	}
	if c.AdminShared() {
		d.add(isOK, "admin_listen", "the admin API is served at listen, %s", c.Listen)
		return
	}
	l, err := listenOptional("admin_listen", c.AdminListen, "the admin API", c, quiet)
	if l != nil {
		l.Close()
		d.add(isOK, "admin_listen", "%s is free: %s", c.AdminListen, adminReach(c))
		return
	}
	switch serves, foreign := servesAdmin(ctx, c); {
	case foreign:
		d.add(isWarning, "admin_listen", "the server at %s rejects requests with the host of issuer: it runs with another configuration; restart it, or set admin_listen to another address", c.AdminListen)
	case serves:
		d.add(isOK, "admin_listen", "a server serves the admin API at %s: %s", c.AdminListen, adminReach(c))
	case err == nil:
		d.add(isWarning, "admin_listen", "the default address %s is in use, so a server would start without the admin API: set admin_listen", c.AdminListen)
	default:
		d.add(isFault, "admin_listen", "%v", err)
	}
}

// adminReach describes who can reach the admin API, and how.
func adminReach(c *config.Config) string {
	switch {
	case c.AdminLoopback():
		return fmt.Sprintf("only this machine reaches it, over plain HTTP, and the Host of a request must be localhost, a loopback address or %s", issuerHost(c))
	case c.TLS.CertFile != "":
		return "other machines reach it over HTTPS"
	default:
		return "it serves plain HTTP, so let only the proxy that terminates TLS reach it"
	}
}

func issuerHost(c *config.Config) string {
	issuer, err := url.Parse(c.Issuer)
	if err != nil {
		return ""
	}
	return issuer.Host
}

// servesAdmin reports whether a Latchkey server serves the admin API at the configured
// address, and whether it regards the host of issuer as foreign.
func servesAdmin(ctx context.Context, c *config.Config) (serves, foreign bool) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	resp, err := requestListener(ctx, c.AdminListen, c.TLS.CertFile != "" && !c.AdminLoopback(), "/admin/v1/tenants", issuerHost(c))
	if err != nil {
		return false, false
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	foreign = resp.StatusCode == http.StatusForbidden && strings.Contains(string(text), "foreign_host")
	return foreign || resp.StatusCode == http.StatusUnauthorized && strings.Contains(string(text), "lk_ak_"), foreign
}

// servesMetrics reports whether a Latchkey server publishes metrics at the address.
func servesMetrics(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return strings.Contains(string(text), "latchkey_")
}

// proxyAddress checks that servers see the addresses of clients rather than that of
// a proxy. The evidence is the addresses from which sessions were last used.
func (d *doctor) proxyAddress(addresses map[string]int) {
	c := d.config
	total, from := 0, ""
	for address, n := range addresses {
		total, from = total+n, address
	}
	ip := net.ParseIP(from)
	const enough = 5
	switch {
	case len(addresses) == 1 && total >= enough && ip != nil && (ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast()):
		d.add(isWarning, "proxy", "all %d sessions were last used from %s, a private address: if this is your proxy, list it in trusted_proxies and let it send X-Forwarded-For; otherwise throttling and the device list treat all users as one", total, from)
	case c.BehindProxy && len(c.TrustedProxies) == 0:
		d.add(isWarning, "proxy", "behind_proxy is true but trusted_proxies is empty: servers ignore X-Forwarded-For, so every client seems to have the address of the proxy; list the addresses of the proxy in trusted_proxies")
	case len(c.TrustedProxies) > 0 && total >= enough:
		from := "one address"
		if n := len(addresses); n > 1 {
			from = fmt.Sprintf("%d different addresses", n)
		}
		d.add(isOK, "proxy", "sessions were used from %s", from)
	}
}

// readClientSecret reads the secret of the client for the revocation feed.
func (d *doctor) readClientSecret(file string) error {
	switch {
	case (d.client == "") != (file == ""):
		return errors.New("--client and --client-secret-file must be used together")
	case d.client != "" && d.url == "":
		return errors.New("--client requires --url, the URL of the revocation feed")
	case file == "":
		return nil
	}
	text, err := os.ReadFile(file)
	d.secret = strings.TrimRight(string(text), "\r\n")
	return err
}
