package bff_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/sdk/go/bff"
)

// ask sends a request with the browser's cookie and further headers to the API.
func (w *testApp) ask(header http.Header) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), "GET", w.URL+"/api/x", nil)
	must(w.t, err)
	r.Header = header.Clone()
	r.Header.Set(bff.CSRFHeader, "1")
	a, err := w.browser.Do(r)
	must(w.t, err)
	must(w.t, a.Body.Close())
	return a
}

func TestOnlyListedHeadersReachTheUpstream(t *testing.T) {
	t.Parallel()
	w := newTestApp(t, func(o *bff.Options) {
		up := o.Upstreams["/api/"]
		up.RequestHeaders = []string{"x-api-version"}
		o.Upstreams["/api/"] = up
	})
	w.signIn()
	w.api.take()
	passes := http.Header{"Accept-Language": {"de"}, "If-None-Match": {`"1"`}, "Traceparent": {"00-1-2-01"}, "X-Api-Version": {"7"}}
	stays := http.Header{
		"X_Forwarded_For": {"9.9.9.9"}, "X_Api_Version": {"8"}, "Remote-User": {"root"}, "Remote_User": {"root"}, "X-Remote-User": {"root"},
		"X-Forwarded-User": {"root"}, "Forwarded": {"for=9.9.9.9"}, "X-Ssl-Client-Cert": {"cert"}, "Ssl-Client-Verify": {"SUCCESS"},
		"X-Client-Cert": {"cert"}, "Client-Cert": {":cert:"}, "X-Amzn-Oidc-Data": {"x"}, "X-Auth-Request-User": {"root"}, "True-Client-Ip": {"9.9.9.9"},
		"Cf-Connecting-Ip": {"9.9.9.9"}, "X-Real-Ip": {"9.9.9.9"}, "X-Http-Method-Override": {"DELETE"}, "X-Original-Url": {"/admin"},
		"Proxy": {"http://evil"}, "Origin": {"https://evil.example"}, "Authorization": {"Bearer other"}, "X-Anything-Else": {"1"},
	}
	all := passes.Clone()
	for name, values := range stays {
		all[name] = values
	}
	all.Del("Origin") // the back end itself would reject the request
	w.ask(all)
	requests := w.api.take()
	if len(requests) != 1 {
		t.Fatalf("the upstream got %d requests", len(requests))
	}
	got := requests[0].Header
	for name := range passes {
		if got.Get(name) != passes.Get(name) {
			t.Errorf("%s arrives as %q", name, got.Get(name))
		}
	}
	for name, values := range got {
		if wanted, ok := stays[name]; ok && values[0] == wanted[0] {
			t.Errorf("%s: %s reaches the upstream", name, values[0])
		}
	}
	if !strings.HasPrefix(got.Get("Authorization"), "Bearer ey") || got.Get("X-Forwarded-For") != "127.0.0.1" {
		t.Errorf("the proxy's own headers are %v", got)
	}
}

func TestOnlyListedHeadersReachTheBrowser(t *testing.T) {
	t.Parallel()
	w := newTestApp(t, func(o *bff.Options) {
		up := o.Upstreams["/api/"]
		up.ResponseHeaders = []string{"Link"}
		o.Upstreams["/api/"] = up
	})
	w.signIn()
	stays := []string{
		"X-Accel-Redirect", "X-Accel-Expires", "X-Accel-Buffering", "X-Accel-Limit-Rate", "X-Sendfile", "X-Lighttpd-Send-File", "X-Reproxy-Url",
		"Cdn-Cache-Control", "Cloudflare-Cdn-Cache-Control", "Surrogate-Control", "Surrogate-Key", "Edge-Control", "X-Frame-Options",
		"Refresh", "Sourcemap", "Content-Security-Policy", "Access-Control-Allow-Origin", "X-Anything-Else",
	}
	w.api.answer = func(rw http.ResponseWriter) {
		for _, name := range stays {
			rw.Header().Set(name, "1")
		}
		rw.Header().Set("ETag", `"1"`)
		rw.Header().Set("X-Total-Count", "7")
		rw.Header().Set("Link", "</api/x?page=2>; rel=next")
	}
	got := w.ask(http.Header{}).Header
	for _, name := range stays {
		if got.Get(name) != "" {
			t.Errorf("%s reaches the browser", name)
		}
	}
	for _, name := range []string{"ETag", "X-Total-Count", "Link"} {
		if got.Get(name) == "" {
			t.Errorf("%s does not reach the browser", name)
		}
	}
}

func TestNoTrailerPasses(t *testing.T) {
	t.Parallel()
	for name, announced := range map[string]string{"announced": "Trailer: X-Accel-Redirect\r\n", "not announced": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			t.Cleanup(func() { l.Close() })
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"+announced+
						"\r\n2\r\nok\r\n0\r\nX-Accel-Redirect: /private\r\n\r\n")
				}
			}()
			w := newTestApp(t, func(o *bff.Options) {
				o.Upstreams = map[string]bff.Upstream{"/api/": {URL: "http://" + l.Addr().String() + "/"}}
			})
			w.signIn()
			r, err := http.NewRequestWithContext(t.Context(), "GET", w.URL+"/api/x", nil)
			must(t, err)
			r.Header.Set(bff.CSRFHeader, "1")
			a, err := w.browser.Do(r)
			must(t, err)
			body, err := io.ReadAll(a.Body)
			must(t, err)
			if string(body) != "ok" || len(a.Trailer) != 0 || a.Header.Get("Trailer") != "" {
				t.Errorf("the answer is %q with the trailers %v, announced %q", body, a.Trailer, a.Header.Get("Trailer"))
			}
		})
	}
}

func TestForbiddenHeadersCannotBeAllowed(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	for _, name := range []string{
		"Cookie", "authorization", "Host", "Set-Cookie", "X-Forwarded-For", "Forwarded", "Connection", "Upgrade", "Trailer", "X-Accel-Redirect",
		"X_Api_Version", "", "X Api", "X-Api\r\nHost", bff.CSRFHeader,
	} {
		for _, up := range []bff.Upstream{
			{URL: w.api.URL + "/", RequestHeaders: []string{name}},
			{URL: w.api.URL + "/", ResponseHeaders: []string{name}},
		} {
			if _, err := bff.New(bff.Options{Client: w.client, Upstreams: map[string]bff.Upstream{"/api/": up}}); err == nil {
				t.Errorf("%q may be allowed to pass", name)
			}
		}
	}
}
