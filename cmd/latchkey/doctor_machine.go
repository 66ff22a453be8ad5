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

	"github.com/latchkey/latchkey/models"
)

// renewBefore is how long before its end a certificate should have been renewed:
// that of a public authority is, a month before.
const renewBefore = 14 * 24 * time.Hour

// files checks who may read and change what is secret.
func (d *doctor) files() {
	exposed, total := exposedFiles(d.config)
	for _, f := range exposed {
		result := isWarning
		if f.may == "change" {
			result = isFault
		}
		d.add(result, "files", "other users of this machine may %s %s (%s), which holds secrets: chmod 600", f.may, f.Path, f.Setting)
	}
	if len(exposed) == 0 && total > 0 {
		d.add(isOK, "files", "out of reach of other users: %s with secrets", plural(total, "file"))
	}
}

// certificate checks the pair that TLS is served with.
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
			d.add(isFault, "tls", "%s is not for the host of issuer: %v", files.CertFile, err)
		}
	}
	switch ends := stamp(models.At(c.notAfter())); {
	case valid(served, now) != nil:
		d.add(isFault, "tls", "clients refuse %s: %v", files.CertFile, valid(served, now))
	case c.notAfter().Sub(now) < renewBefore:
		d.add(isWarning, "tls", "%s expires at %s: renew it; a running server takes up the new files by itself", files.CertFile, ends)
	default:
		d.add(isOK, "tls", "%s is valid until %s", files.CertFile, ends)
	}
}

// ports checks that the addresses are free, or that this deployment's own server holds them.
func (d *doctor) ports(ctx context.Context) {
	c := d.config
	if _, _, err := net.SplitHostPort(c.Listen); err == nil {
		l, err := net.Listen("tcp", c.Listen)
		switch {
		case err == nil:
			l.Close()
			d.add(isOK, "listen", "%s is free", c.Listen)
		case errors.Is(err, syscall.EADDRINUSE) && askHealth(ctx, c) == nil:
			d.add(isOK, "listen", "a server answers at %s", c.Listen)
		case errors.Is(err, syscall.EADDRINUSE):
			d.add(isFault, "listen", "%s is taken by another program: stop it, or set listen to another address", c.Listen)
		default:
			d.add(isFault, "listen", "%v", err)
		}
	}
	if _, _, err := net.SplitHostPort(c.MetricsListen); err != nil {
		return // none, or a fault of configuration
	}
	l, err := listenOptional("metrics_listen", c.MetricsListen, "metrics", c, quiet)
	switch {
	case l != nil:
		l.Close()
		d.add(isOK, "metrics_listen", "%s is free", c.MetricsListen)
	case servesMetrics(ctx, c.MetricsListen):
		d.add(isOK, "metrics_listen", "a server serves its metrics at %s", c.MetricsListen)
	case err == nil:
		d.add(isWarning, "metrics_listen", "the default address %s is taken, so no metrics would be served: set metrics_listen", c.MetricsListen)
	default:
		d.add(isFault, "metrics_listen", "%v", err)
	}
}

// servesMetrics reports whether a server of Latchkey's has the address.
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

// proxyAddress checks that the addresses of clients are not that of a proxy. The
// addresses that sessions were used from are evidence of what arrives.
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
		d.add(isWarning, "proxy", "all of %d sessions were last used from %s, which is a private address: if it is your proxy, list it in trusted_proxies and have it send X-Forwarded-For; otherwise throttling and the device list take all users for one", total, from)
	case c.BehindProxy && len(c.TrustedProxies) == 0:
		d.add(isWarning, "proxy", "behind_proxy is true and trusted_proxies is empty: X-Forwarded-For is not believed, so every client has the address of the proxy. List the addresses of the proxy")
	case len(c.TrustedProxies) > 0 && total >= enough:
		from := "one address"
		if n := len(addresses); n > 1 {
			from = fmt.Sprintf("%d different addresses", n)
		}
		d.add(isOK, "proxy", "sessions were used from %s", from)
	}
}

// readClientSecret reads the secret of the client that the feed is read with.
func (d *doctor) readClientSecret(file string) error {
	switch {
	case (d.client == "") != (file == ""):
		return errors.New("--client and --client-secret-file belong together")
	case d.client != "" && d.url == "":
		return errors.New("--client is used to read the revocation feed at --url: give that too")
	case file == "":
		return nil
	}
	text, err := os.ReadFile(file)
	d.secret = strings.TrimRight(string(text), "\r\n")
	return err
}
