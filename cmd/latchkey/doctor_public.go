package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/settings"
)

// feedTimeout is how long the doctor waits for a byte of the revocation feed. It is
// longer than the pauses in an open stream.
const feedTimeout = 12 * time.Second

// page is the response of a public URL.
type page struct {
	status int
	header http.Header
	body   []byte
}

// public checks the URL that clients use.
func (d *doctor) public(ctx context.Context) {
	if d.url == "" {
		d.add(isSkipped, "public", "use --url https://… to check the proxies in front of the servers too")
		return
	}
	base, err := url.Parse(d.url)
	if err != nil || base.Scheme != "https" && base.Scheme != "http" || base.Host == "" {
		d.add(isFault, "public", "--url must be a URL such as https://id.example.com")
		return
	}
	base.Path = strings.TrimSuffix(base.Path, "/")
	if !d.reaches(ctx, base) {
		return
	}
	d.operatorPages(ctx, base)
	d.feed(ctx, base)
}

// reaches reports whether the URL reaches this deployment.
func (d *doctor) reaches(ctx context.Context, base *url.URL) bool {
	var metadata struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	at := base.String() + "/.well-known/openid-configuration"
	p, err := fetchPage(ctx, at)
	switch {
	case err != nil:
		d.add(isFault, "public", "%v", err)
		return false
	case p.status/100 == 3:
		d.add(isFault, "public", "%s redirects to %s, and clients do not follow redirects: set issuer to that URL, or let the proxy forward the requests", at, p.header.Get("Location"))
		return false
	case p.status != http.StatusOK || json.Unmarshal(p.body, &metadata) != nil:
		d.add(isFault, "public", "%s returned status %d without a valid discovery document: the proxy does not forward this path, or %s is not the URL of the issuer", at, p.status, base)
		return false
	case metadata.Issuer != d.config.Issuer:
		d.add(isFault, "public", "the issuer at %s is %q, but this configuration has %q: clients reject a different issuer", base, metadata.Issuer, d.config.Issuer)
		return false
	case !d.sameKeys(ctx, base):
		return false
	}
	d.add(isOK, "public", "%s reaches this deployment", base)
	if base.String() != d.config.Issuer {
		d.add(isWarning, "public", "clients that discover the server by its issuer use %s instead of %s", d.config.Issuer, base)
	}
	d.infix(ctx, base)
	if base.Scheme == "https" && p.header.Get("Strict-Transport-Security") == "" {
		d.add(isWarning, "public", "responses have no Strict-Transport-Security header: the server sends it if its issuer is https, so the proxy removes it")
	}
	return true
}

// sameKeys compares the key set at the URL with the database.
func (d *doctor) sameKeys(ctx context.Context, base *url.URL) bool {
	if len(d.kids) == 0 {
		return true // nothing to compare
	}
	p, err := fetchPage(ctx, base.String()+"/.well-known/jwks.json")
	var set struct {
		Keys []struct{ Kid string }
	}
	if err != nil || p.status != http.StatusOK || json.Unmarshal(p.body, &set) != nil {
		d.add(isFault, "public", "%s/.well-known/jwks.json is not a key set: the proxy does not forward this path", base)
		return false
	}
	for _, key := range set.Keys {
		if slices.Contains(d.kids, key.Kid) {
			return true
		}
	}
	d.add(isFault, "public", "%s reaches another deployment: its key set has no key of this database", base)
	return false
}

// infix checks the location of the metadata that RFC 8414 §3.1 defines for an issuer with a path.
func (d *doctor) infix(ctx context.Context, base *url.URL) {
	if base.Path == "" {
		return
	}
	at := base.Scheme + "://" + base.Host + "/.well-known/oauth-authorization-server" + base.Path
	if p, err := fetchPage(ctx, at); err != nil || p.status != http.StatusOK {
		d.add(isWarning, "public", "the proxy does not forward %s, where some clients look for the metadata", at)
	}
}

// operatorPages checks that the pages for the operator are not public.
func (d *doctor) operatorPages(ctx context.Context, base *url.URL) {
	seen := 0
	for _, path := range []string{"/readyz", "/metrics"} {
		at := base.Scheme + "://" + base.Host + path
		p, err := fetchPage(ctx, at)
		ours := err == nil && (strings.Contains(string(p.body), "latchkey_") || strings.HasPrefix(string(p.body), `{"`) && strings.Contains(string(p.body), `"status"`))
		if ours && (p.status == http.StatusOK || p.status == http.StatusServiceUnavailable) {
			seen++
			d.add(isWarning, "public", "%s is public, but only for the operator: let the proxy return 404", at)
		}
	}
	if seen == 0 {
		d.add(isOK, "public", "/readyz and /metrics are not public")
	}
}

// feed checks that the first byte of the revocation feed arrives.
func (d *doctor) feed(ctx context.Context, base *url.URL) {
	at := base.String() + "/revocations"
	if d.client == "" {
		d.add(isSkipped, "feed", "use --client and --client-secret-file to check whether the proxy delays the revocation feed, or run: curl -N -u CLIENT:SECRET -H 'Accept: text/event-stream' %s (an event should arrive at once, and a comment every 10 s)", at)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		d.add(isFault, "feed", "%v", err)
		return
	}
	req.Header.Set("Accept", "text/event-stream")
	req.SetBasicAuth(url.QueryEscape(d.client), url.QueryEscape(d.secret))
	resp, err := publicClient.Do(req)
	const delayed = "no byte of %s arrived within %s: the proxy buffers the stream (in nginx, set proxy_buffering off), or the servers do not respond"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		d.add(isFault, "feed", delayed, at, d.timeout)
		return
	case err != nil:
		d.add(isFault, "feed", "%v", err)
		return
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		d.add(isFault, "feed", "the server rejects the credentials of client %s: check the secret, and that the client belongs to tenant %s", d.client, settings.DefaultTenant)
	case resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream"):
		d.add(isFault, "feed", "%s returned %s with content type %q instead of an event stream", at, resp.Status, resp.Header.Get("Content-Type"))
	default:
		if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
			d.add(isFault, "feed", delayed, at, d.timeout)
			return
		}
		d.add(isOK, "feed", "events arrive without delay")
	}
}

// publicClient follows no redirects, because OAuth clients do not.
var publicClient = &http.Client{
	Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func fetchPage(ctx context.Context, at string) (*page, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	resp, err := publicClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be reached: %w", at, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return &page{resp.StatusCode, resp.Header, body}, err
}
