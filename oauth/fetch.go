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

// Limits of what is fetched from other issuers (CONFORMANCE R-JK-14).
const (
	fetchTimeout = 5 * time.Second
	maxFetch     = 512 << 10
)

// errFetchRefused is a fetch that we do not make. It names no address that a
// name resolved to.
var errFetchRefused = errors.New("fetching from this address is not allowed")

// newFetcher is an HTTP client for documents of other issuers: https, no
// proxy, bounded in time and size, no redirect to another host, and no
// connection to a private address, whatever name led to it.
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

// throughProxy is newFetcher(false) by way of a proxy, which is trusted to lead to
// no private address by any name; what is plainly one is refused here.
func newProxyFetcher(proxy *url.URL) *http.Client {
	client := newFetcher(false)
	bounded := client.Transport.(boundedTransport)
	direct := bounded.next.(*http.Transport)
	direct.Proxy = http.ProxyURL(proxy)
	direct.DialContext = (&net.Dialer{Timeout: fetchTimeout}).DialContext // it connects to the proxy alone
	client.Transport = publicHosts{bounded}
	return client
}

// publicNames refuses hosts that are written as a private address, or as this
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

// boundedTransport cuts off long bodies and refuses schemes.
type boundedTransport struct {
	allowPlain bool
	next       http.RoundTripper
}

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

type boundedBody struct {
	io.ReadCloser
	left int
}

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

// notPublic lists the networks of the IANA special-purpose registries that
// lead to ourselves, to a neighbour, or through a translator to either.
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

// public says whether an address is one of the public Internet.
func public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range notPublic {
		if p.Contains(addr) {
			return false
		}
	}
	return addr.IsValid()
}
