package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestPublicRejectsSpecialAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"1.1.1.1": true, "93.184.216.34": true, "8.8.8.8": true, "9.255.255.255": true, "11.0.0.0": true,
		"100.63.255.255": true, "100.128.0.0": true, "126.255.255.255": true, "128.0.0.1": true, "169.253.255.255": true,
		"169.255.0.0": true, "172.15.255.255": true, "172.32.0.0": true, "192.167.255.255": true, "192.169.0.0": true,
		"198.17.255.255": true, "198.20.0.0": true, "223.255.255.255": true,
		"2606:4700::1111": true, "2a00:1450::1": true, "2620:fe::fe": true, "2001:200::1": true, "2003::1": true,
		"::ffff:1.1.1.1": true, // an IPv4 address, whatever it is written as

		"0.0.0.0": false, "0.1.2.3": false, // this host and network
		"10.0.0.0": false, "10.255.255.255": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.0.1": false, // RFC 1918
		"100.64.0.0": false, "100.127.255.255": false, // carrier-grade NAT
		"127.0.0.1": false, "127.255.255.255": false, // loopback
		"169.254.0.1": false, "169.254.169.254": false, // link-local, metadata services
		"192.0.0.1": false, "192.0.0.170": false, "192.88.99.1": false, // IETF, 6to4 relay
		"192.0.2.1": false, "198.51.100.7": false, "203.0.113.9": false, // documentation
		"198.18.0.0": false, "198.19.255.255": false, // benchmarks
		"224.0.0.1": false, "239.255.255.255": false, "240.0.0.1": false, "255.255.255.255": false, // multicast, reserved, broadcast

		"::": false, "::1": false, "::2": false, // unspecified, loopback
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:7f00:1": false, // IPv4-mapped
		"::127.0.0.1": false, "::ffff:0:127.0.0.1": false, // IPv4-compatible, IPv4-translated
		"64:ff9b::7f00:1": false, "64:ff9b::1.1.1.1": false, "64:ff9b:1::1": false, "64:ff9b:1:fffe::1": false, // NAT64
		"2002:7f00:1::": false, "2002:a00:1::1": false, "2002:c0a8:1::1": false, // 6to4
		"2001::1": false, "2001:0:7f00:1::": false, "2001:10::1": false, "2001:20::1": false, "2001:1ff:ffff::1": false, // Teredo, ORCHID
		"2001:db8::1": false, "3fff::1": false, "3fff:fff::1": false, // documentation
		"fc00::1": false, "fd12:3456::1": false, "fdff:ffff::1": false, // unique local
		"fe80::1": false, "fe80::1%eth0": false, "febf::1": false, "fec0::1": false, "feff::1": false, // link-local, with a zone, site-local
		"ff02::1": false, "ff0e::1": false, // multicast
		"100::1": false, "5f00::1": false, // discard, segment routing
	} {
		if got := Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is public: %t", text, got)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("the zero address is public")
	}
}

// anIP matches an address in the text of an error.
var anIP = regexp.MustCompile(`127\.0\.0\.1|\[?::1\]?|dial`)

func TestClientRejectsAddressesThatAreNotPublic(t *testing.T) {
	var reached int
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	t.Cleanup(server.Close)
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	for name, host := range map[string]string{
		"a name that resolves to loopback": "localhost",
		"loopback":                         "127.0.0.1",
		"another loopback address":         "127.1.2.3",
		"loopback in IPv6":                 "[::1]",
		"loopback mapped to IPv6":          "[::ffff:127.0.0.1]",
		"the unspecified address":          "0.0.0.0",
		"the metadata service":             "169.254.169.254",
		"a private network":                "10.0.0.1",
		"a unique local address":           "[fd00::1]",
	} {
		_, err := New(Options{}).Get("https://" + host + port)
		if !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if text := strings.ReplaceAll(err.Error(), host, "HOST"); anIP.MatchString(text) {
			t.Errorf("%s: the error contains the resolved address: %v", name, err)
		}
	}
	if reached > 0 {
		t.Error("a request reached the server")
	}
}

func TestClientRejectsOtherSchemes(t *testing.T) {
	for _, target := range []string{"http://example.com/", "file:///etc/passwd", "data:application/json,{}", "ftp://example.com/", "gopher://example.com/"} {
		if _, err := New(Options{}).Get(target); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: %v", target, err)
		}
		if _, err := New(Options{AllowPrivate: true}).Get(target); !strings.HasPrefix(target, "http:") && !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s with private addresses: %v", target, err)
		}
	}
}

// plainServer starts a server on loopback, which only a client with AllowPrivate may
// reach.
func plainServer(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func TestClientStaysOnTheHost(t *testing.T) {
	var stolen int
	other := plainServer(t, func(http.ResponseWriter, *http.Request) { stolen++ })
	loops := 0
	here := plainServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/within":
			http.Redirect(w, r, "/keys", http.StatusFound)
		case "/away":
			http.Redirect(w, r, other, http.StatusFound)
		case "/other-name": // the same address, but another host
			http.Redirect(w, r, strings.Replace("http://"+r.Host, "127.0.0.1", "localhost", 1)+"/keys", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/loop":
			loops++
			http.Redirect(w, r, "/loop", http.StatusFound)
		default:
			fmt.Fprint(w, "keys")
		}
	})
	for path, ok := range map[string]bool{"/keys": true, "/within": true, "/away": false, "/other-name": false, "/file": false, "/loop": false} {
		resp, err := New(Options{AllowPrivate: true}).Get(here + path)
		if (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			resp.Body.Close()
		} else if !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if stolen > 0 || loops > 4 {
		t.Errorf("%d requests to another host, %d in a loop", stolen, loops)
	}
}

func TestClientUsesNoProxy(t *testing.T) {
	var seen int
	proxy := plainServer(t, func(http.ResponseWriter, *http.Request) { seen++ })
	for _, variable := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(variable, proxy)
	}
	transport := New(Options{AllowPrivate: true}).Transport.(boundedTransport).next.(*http.Transport)
	if transport.Proxy != nil {
		u, err := transport.Proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: "example.com"}})
		t.Errorf("it uses the proxy %v, %v", u, err)
	}
}

func TestClientWithAProxyConnectsOnlyToTheProxy(t *testing.T) {
	var asked []string
	proxy, err := url.Parse(plainServer(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.Host)
		w.WriteHeader(http.StatusBadGateway)
	}))
	if err != nil {
		t.Fatal(err)
	}
	client := New(Options{Proxy: proxy})
	for _, host := range []string{"127.0.0.1", "10.0.0.1", "[::1]", "[::ffff:10.0.0.1]", "localhost", "LOCALHOST.", "api.localhost"} {
		if _, err := client.Get("https://" + host + "/"); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := client.Get("http://api.example.com/"); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("http: %v", err)
	}
	if _, err := client.Get("https://api.example.com/"); err == nil || errors.Is(err, ErrNotAllowed) {
		t.Errorf("a public name: %v", err)
	}
	if got := strings.Join(asked, ", "); got != "CONNECT api.example.com:443" {
		t.Errorf("the proxy received %q", got)
	}
}

func TestClientHasTheLimitsOfItsOptions(t *testing.T) {
	if got := New(Options{}).Timeout; got != DefaultTimeout {
		t.Errorf("the timeout is %v by default", got)
	}
	if got := New(Options{Timeout: time.Second}).Timeout; got != time.Second {
		t.Errorf("the timeout is %v instead of 1s", got)
	}
	target := plainServer(t, func(w http.ResponseWriter, _ *http.Request) { pieces(w, 2) })
	for _, limit := range []int{2048, 2047} {
		resp, err := New(Options{AllowPrivate: true, MaxBody: limit}).Get(target)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if (err == nil) != (limit == 2048) {
			t.Errorf("2 KiB with a limit of %d bytes: %v", limit, err)
		}
	}
}

func TestClientBoundsTheResponse(t *testing.T) {
	zipped := func(n int) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(make([]byte, n))
		z.Close()
		return b.Bytes()
	}
	served := map[string]http.HandlerFunc{
		"as long as allowed":                       func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, DefaultMaxBody)) },
		"one byte too long":                        func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, DefaultMaxBody+1)) },
		"that announces a length that is too long": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "10485760") },
		"in pieces, as long as allowed":            func(w http.ResponseWriter, _ *http.Request) { pieces(w, DefaultMaxBody/1024) },
		"in pieces without end":                    func(w http.ResponseWriter, _ *http.Request) { pieces(w, 1<<20) },
		"that decompresses to the allowed length":  func(w http.ResponseWriter, _ *http.Request) { gzipped(w, zipped(DefaultMaxBody)) },
		"that decompresses to megabytes":           func(w http.ResponseWriter, _ *http.Request) { gzipped(w, zipped(50<<20)) },
		"with headers of 15 KiB":                   func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("A", strings.Repeat("a", 15<<10)) },
		"with headers that are too long":           func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("A", strings.Repeat("a", 17<<10)) },
	}
	accepted := map[string]bool{"as long as allowed": true, "in pieces, as long as allowed": true, "that decompresses to the allowed length": true, "with headers of 15 KiB": true}
	for name, handler := range served {
		resp, err := New(Options{AllowPrivate: true}).Get(plainServer(t, handler))
		var read int64
		if err == nil {
			read, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		if (err == nil) != accepted[name] || read > DefaultMaxBody {
			t.Errorf("a response %s: %d bytes, %v", name, read, err)
		}
	}
}

// pieces writes n KiB without a length, until the reader disconnects.
func pieces(w http.ResponseWriter, n int) {
	for range n {
		if _, err := w.Write(make([]byte, 1024)); err != nil {
			return
		}
		w.(http.Flusher).Flush()
	}
}

func gzipped(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Encoding", "gzip")
	w.Write(body)
}

func TestClientStopsWithItsRequest(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	target := plainServer(t, func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(ended)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{AllowPrivate: true}).Do(req); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-ended
}
