package oauth

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Limits of documents that are fetched from trusted issuers (R-JK-14).
const (
	fetchTimeout = 5 * time.Second
	maxFetch     = 512 << 10
)

// errFetchRefused means that a fetch is not allowed. It does not name an
// address that a host name resolved to.
var errFetchRefused = errors.New("fetching from this address is not allowed")

// newFetcher returns an HTTP client for documents of trusted issuers. It uses
// https and no proxy, bounds time and size, follows no redirect to another
// host, and connects to no private address, whatever name resolves to it.
func newFetcher(allowPrivate bool) *http.Client {
	dialer := &net.Dialer{Timeout: fetchTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		addr, err := netip.ParseAddrPort(address)
		if err != nil || !allowPrivate && !public(addr.Addr()) {
			return errFetchRefused
		}
		return nil
	}}
	return &http.Client{
		Timeout: fetchTimeout,
		Transport: boundedTransport{allowPrivate, &http.Transport{
			Proxy:                  nil,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 16 << 10,
		}},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if len(via) > 3 || next.URL.Host != via[0].URL.Host {
				return errFetchRefused
			}
			return nil
		},
	}
}

// newProxyFetcher returns newFetcher(false) with a proxy. The proxy is trusted
// not to connect to private addresses that a name resolves to. Hosts that are
// written as a private address are rejected here.
func newProxyFetcher(proxy *url.URL) *http.Client {
	client := newFetcher(false)
	bounded := client.Transport.(boundedTransport)
	direct := bounded.next.(*http.Transport)
	direct.Proxy = http.ProxyURL(proxy)
	direct.DialContext = (&net.Dialer{Timeout: fetchTimeout}).DialContext // it connects only to the proxy
	client.Transport = publicHosts{bounded}
	return client
}

// publicHosts rejects hosts that are written as a private address or as this
// machine.
type publicHosts struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t publicHosts) RoundTrip(r *http.Request) (*http.Response, error) {
	host := strings.ToLower(strings.TrimSuffix(r.URL.Hostname(), "."))
	addr, err := netip.ParseAddr(host)
	if err == nil && !public(addr) || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return nil, errFetchRefused
	}
	return t.next.RoundTrip(r)
}

// boundedTransport rejects URL schemes and cuts off long bodies.
type boundedTransport struct {
	allowPlain bool
	next       http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !(t.allowPlain && r.URL.Scheme == "http") {
		return nil, errFetchRefused
	}
	resp, err := t.next.RoundTrip(r)
	switch {
	case errors.Is(err, errFetchRefused):
		return nil, errFetchRefused // without the address that the dialer adds
	case err != nil:
		return nil, err
	}
	if resp.ContentLength > maxFetch {
		resp.Body.Close()
		return nil, errTooLong
	}
	resp.Body = &boundedBody{resp.Body, maxFetch}
	return resp, nil
}

var errTooLong = fmt.Errorf("response is longer than %d bytes", maxFetch)

// boundedBody is a body that returns errTooLong after left bytes.
type boundedBody struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)])
	if b.left -= n; b.left < 0 {
		return 0, errTooLong
	}
	return n, err
}

// notPublic lists the networks of the IANA special-purpose registries that lead
// to this machine, to its neighbors, or through a translator to either.
var notPublic = func() (list []netip.Prefix) {
	for _, p := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
		"::/8", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
		"5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
	} {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}()

// public reports whether an address belongs to the public Internet.
func public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range notPublic {
		if p.Contains(addr) {
			return false
		}
	}
	return addr.IsValid()
}
