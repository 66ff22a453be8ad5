package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

func TestDoctorChecksThePublicURL(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	other := newDeployment(t, testdb.SQLite(t))
	s, elsewhere := d.serve(), other.serve()
	to := func(s *server) http.Handler {
		u, err := url.Parse(s.url)
		must(t, err)
		return &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
	}
	here := to(s)
	only := func(refused ...string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, path := range refused {
				if strings.HasPrefix(r.URL.Path, path) {
					http.NotFound(w, r)
					return
				}
			}
			here.ServeHTTP(w, r)
		})
	}
	holding := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/revocations" {
			<-r.Context().Done() // as a proxy that buffers does with an endless stream
			return
		}
		here.ServeHTTP(w, r)
	})
	backend := func(secret string) func(*doctor) {
		return func(d *doctor) { d.client, d.secret = "backend", secret }
	}
	for name, c := range map[string]struct {
		proxy         http.Handler
		option        func(*doctor)
		result, check string
		words         []string
	}{
		"forwards everything":        {here, nil, isOK, "public", []string{"reaches this deployment"}},
		"forwards internal pages":    {here, nil, isWarning, "public", []string{"/readyz is public", "404"}},
		"hides internal pages":       {only("/readyz"), nil, isOK, "public", []string{"are not public"}},
		"hides the documents":        {only("/.well-known"), nil, isFault, "public", []string{"status 404", "does not forward this path"}},
		"hides the keys":             {only("/.well-known/jwks.json"), nil, isFault, "public", []string{"is not a key set"}},
		"reaches another deployment": {to(elsewhere), nil, isFault, "public", []string{"another deployment"}},
		"redirects": {http.RedirectHandler("https://www.example.com/", http.StatusMovedPermanently), nil,
			isFault, "public", []string{"redirects to https://www.example.com/"}},
		"forwards the feed":               {here, backend(testserver.ClientSecret), isOK, "feed", []string{"without delay"}},
		"forwards a wrong secret":         {here, backend(strings.Repeat("x", 40)), isFault, "feed", []string{"rejects the credentials of client backend"}},
		"buffers the feed":                {holding, func(d *doctor) { backend("s")(d); d.timeout = 100 * time.Millisecond }, isFault, "feed", []string{"no byte", "proxy_buffering off"}},
		"is not checked without a client": {here, nil, isSkipped, "feed", []string{"--client", "curl -N"}},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := httptest.NewServer(c.proxy)
			defer proxy.Close()
			findings := d.examined(func(doctor *doctor) {
				doctor.url = proxy.URL
				if c.option != nil {
					c.option(doctor)
				}
			})
			wantFinding(t, findings, c.result, c.check, c.words...)
		})
	}
	t.Run("has another issuer", func(t *testing.T) {
		d.edit("issuer: "+baseIssuer+"\n", "issuer: http://127.0.0.1:8080\n")
		findings := d.examined(func(doctor *doctor) { doctor.url = s.url })
		wantFinding(t, findings, isFault, "public", `"`+baseIssuer+`"`, `"http://127.0.0.1:8080"`)
	})
	t.Run("is unreachable", func(t *testing.T) {
		findings := d.examined(func(doctor *doctor) { doctor.url = "http://127.0.0.1:1" })
		wantFinding(t, findings, isFault, "public", "cannot be reached")
	})
}
