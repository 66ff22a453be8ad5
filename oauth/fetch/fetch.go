// Package fetch makes HTTP clients for requests to URLs that an operator or a
// tenant configures. Such a client uses https, stays on the host of the URL,
// connects to no private address, and bounds the time and the size of a
// response.
package fetch

import (
	"cmp"
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

// Limits of a client whose Options set none (R-JK-14).
const (
	DefaultTimeout = 5 * time.Second
	DefaultMaxBody = 512 << 10
)

// ErrNotAllowed means that a request is not allowed because of the scheme, the
// host or the address of its URL, or of the URL that it is redirected to. It
// does not name an address that a host name resolved to.
var ErrNotAllowed = errors.New("fetching from this address is not allowed")

// Options are the options of [New]. The zero value is the strictest.
type Options struct {
	// AllowPrivate allows private addresses and http.
	AllowPrivate bool
	// Proxy is the URL of a proxy for every request. It is trusted not to
	// connect to private addresses that a name resolves to: the client itself
	// only rejects hosts that are written as a private address. If it is nil,
	// the client connects directly, whatever the environment contains.
	Proxy *url.URL
	// Timeout bounds a request from the connection to the end of the body. Zero
	// means DefaultTimeout.
	Timeout time.Duration
	// MaxBody is the maximum length of a body in bytes, after decompression. To
	// read more of it is an error. Zero means DefaultMaxBody.
	MaxBody int
	// IdlePerHost is how many idle connections to a host are kept. Zero means one.
	IdlePerHost int
}

// New returns an HTTP client that follows at most three redirects, all on the
// same host.
func New(o Options) *http.Client {
	timeout := cmp.Or(o.Timeout, DefaultTimeout)
	dialer := &net.Dialer{Timeout: timeout}
	transport := &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    max(1, o.IdlePerHost),
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 16 << 10,
	}
	var guarded http.RoundTripper = boundedTransport{o.AllowPrivate, cmp.Or(o.MaxBody, DefaultMaxBody), transport}
	if o.Proxy != nil {
		transport.Proxy = http.ProxyURL(o.Proxy)
	}
	switch {
	case o.AllowPrivate:
	case o.Proxy != nil: // the client connects only to the proxy, which may be private
		guarded = publicHosts{guarded}
	default:
		dialer.Control = onlyPublic
	}
	return &http.Client{
		Timeout:   timeout,
		Transport: guarded,
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if len(via) > 3 || next.URL.Host != via[0].URL.Host {
				return ErrNotAllowed
			}
			return nil
		},
	}
}

// onlyPublic is the Control of a dialer that connects only to public addresses.
// It sees the address that the name resolved to.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil || !Public(addr.Addr()) {
		return ErrNotAllowed
	}
	return nil
}

// publicHosts rejects hosts that are written as a private address or as this
// machine.
type publicHosts struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t publicHosts) RoundTrip(r *http.Request) (*http.Response, error) {
	host := strings.ToLower(strings.TrimSuffix(r.URL.Hostname(), "."))
	addr, err := netip.ParseAddr(host)
	if err == nil && !Public(addr) || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return nil, ErrNotAllowed
	}
	return t.next.RoundTrip(r)
}

// boundedTransport rejects URL schemes and cuts off long bodies.
type boundedTransport struct {
	allowPlain bool
	maxBody    int
	next       http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !(t.allowPlain && r.URL.Scheme == "http") {
		return nil, ErrNotAllowed
	}
	resp, err := t.next.RoundTrip(r)
	switch {
	case errors.Is(err, ErrNotAllowed):
		return nil, ErrNotAllowed // without the address that the dialer adds
	case err != nil:
		return nil, err
	}
	if resp.ContentLength > int64(t.maxBody) {
		resp.Body.Close()
		return nil, tooLong(t.maxBody)
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, max: t.maxBody, left: t.maxBody}
	return resp, nil
}

var errTooLong = errors.New("the response is too long")

func tooLong(limit int) error { return fmt.Errorf("%w: it has more than %d bytes", errTooLong, limit) }

// boundedBody is a body that returns an error after max bytes.
type boundedBody struct {
	io.ReadCloser
	max, left int
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, tooLong(b.max)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)])
	if b.left -= n; b.left < 0 {
		return 0, tooLong(b.max)
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

// Public reports whether an address belongs to the public Internet.
func Public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range notPublic {
		if p.Contains(addr) {
			return false
		}
	}
	return addr.IsValid()
}
