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

// feedPatience is how long the doctor waits for a byte of the revocation feed:
// longer than a stream that is open stays silent.
const feedPatience = 12 * time.Second

// page is what a public URL answered.
type page struct {
	status int
	header http.Header
	body   []byte
}

// public asks the URL that clients use.
func (d *doctor) public(ctx context.Context) {
	if d.url == "" {
		d.add(isSkipped, "public", "give --url https://… to check what is in front of the servers, too")
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

// reaches reports whether the URL leads to this deployment.
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
		d.add(isFault, "public", "%s redirects to %s: clients do not follow it; give that URL as issuer, or have the proxy pass requests on", at, p.header.Get("Location"))
		return false
	case p.status != http.StatusOK || json.Unmarshal(p.body, &metadata) != nil:
		d.add(isFault, "public", "%s answered %d, and not with the discovery document: the proxy does not pass this path on, or %s is not the URL of the issuer", at, p.status, base)
		return false
	case metadata.Issuer != d.config.Issuer:
		d.add(isFault, "public", "the issuer at %s is %q, and this configuration has %q: clients compare them", base, metadata.Issuer, d.config.Issuer)
		return false
	case !d.sameKeys(ctx, base):
		return false
	}
	d.add(isOK, "public", "%s leads to this deployment", base)
	if base.String() != d.config.Issuer {
		d.add(isWarning, "public", "clients that find the server by its issuer ask %s, not %s", d.config.Issuer, base)
	}
	d.infix(ctx, base)
	if base.Scheme == "https" && p.header.Get("Strict-Transport-Security") == "" {
		d.add(isWarning, "public", "answers have no Strict-Transport-Security: the server sends it where its issuer is https, so the proxy takes it away")
	}
	return true
}

// sameKeys compares the key set at the URL with the database.
func (d *doctor) sameKeys(ctx context.Context, base *url.URL) bool {
	if len(d.kids) == 0 {
		return true // there is nothing to compare with
	}
	p, err := fetchPage(ctx, base.String()+"/.well-known/jwks.json")
	var set struct {
		Keys []struct{ Kid string }
	}
	if err != nil || p.status != http.StatusOK || json.Unmarshal(p.body, &set) != nil {
		d.add(isFault, "public", "%s/.well-known/jwks.json is no key set: the proxy does not pass this path on", base)
		return false
	}
	for _, key := range set.Keys {
		if slices.Contains(d.kids, key.Kid) {
			return true
		}
	}
	d.add(isFault, "public", "%s leads to another deployment: its key set has no key of this database", base)
	return false
}

// infix asks for the document where RFC 8414 §3.1 puts it for an issuer with a path.
func (d *doctor) infix(ctx context.Context, base *url.URL) {
	if base.Path == "" {
		return
	}
	at := base.Scheme + "://" + base.Host + "/.well-known/oauth-authorization-server" + base.Path
	if p, err := fetchPage(ctx, at); err != nil || p.status != http.StatusOK {
		d.add(isWarning, "public", "%s is not passed on to the server: some clients look for the metadata there", at)
	}
}

// operatorPages checks that the public does not see what is for the operator.
func (d *doctor) operatorPages(ctx context.Context, base *url.URL) {
	seen := 0
	for _, path := range []string{"/readyz", "/metrics"} {
		at := base.Scheme + "://" + base.Host + path
		p, err := fetchPage(ctx, at)
		ours := err == nil && (strings.Contains(string(p.body), "latchkey_") || strings.HasPrefix(string(p.body), `{"`) && strings.Contains(string(p.body), `"status"`))
		if ours && (p.status == http.StatusOK || p.status == http.StatusServiceUnavailable) {
			seen++
			d.add(isWarning, "public", "%s is public: have the proxy answer 404; it is for the operator", at)
		}
	}
	if seen == 0 {
		d.add(isOK, "public", "/readyz and /metrics are not public")
	}
}

// feed waits for the first byte of the revocation feed.
func (d *doctor) feed(ctx context.Context, base *url.URL) {
	at := base.String() + "/revocations"
	if d.client == "" {
		d.add(isSkipped, "feed", "give --client and --client-secret-file to see whether the proxy holds the revocation feed back, or try: curl -N -u CLIENT:SECRET -H 'Accept: text/event-stream' %s (an event comes at once, a comment every 10 s)", at)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		d.add(isFault, "feed", "%v", err)
		return
	}
	req.Header.Set("Accept", "text/event-stream")
	req.SetBasicAuth(url.QueryEscape(d.client), url.QueryEscape(d.secret))
	resp, err := publicClient.Do(req)
	const held = "no byte of %s came within %s: the proxy holds the stream back (proxy_buffering off in nginx), or the servers do not answer"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		d.add(isFault, "feed", held, at, d.patience)
		return
	case err != nil:
		d.add(isFault, "feed", "%v", err)
		return
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		d.add(isFault, "feed", "the server does not accept the secret of client %s: is it of tenant %s, and is this its secret?", d.client, settings.DefaultTenant)
	case resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream"):
		d.add(isFault, "feed", "%s answered %s, %s: not a stream of events", at, resp.Status, resp.Header.Get("Content-Type"))
	default:
		if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
			d.add(isFault, "feed", held, at, d.patience)
			return
		}
		d.add(isOK, "feed", "events pass through the proxy as they happen")
	}
}

// publicClient follows no redirect: clients of the server do not.
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
