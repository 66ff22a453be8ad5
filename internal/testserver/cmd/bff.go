package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
	"github.com/latchkey/latchkey/sdk/go/resource"
)

// apiAudience is the audience of the API behind the BFF.
const apiAudience = "https://api.example.com"

// serveBFF serves the app of the client web: the files of a folder, the endpoints of
// package bff under /auth/, and an API under /api/. It returns the app's URL.
func serveBFF(p *process, server *testserver.Server, folder string, network *testserver.Network) string {
	client, err := latchkey.NewClient(server.URL, "web", latchkey.ClientOptions{RetryWindow: 3 * time.Second})
	if err != nil {
		p.Fatal(err)
	}
	api := serveAPI(p, server)
	app, err := bff.New(bff.Options{Client: client, Loopback: true, Upstreams: map[string]bff.Upstream{
		"/api/": {URL: api.URL + "/", Target: latchkey.Target{Audience: []string{apiAudience}}},
	}})
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(app.Close)
	mux := http.NewServeMux()
	mux.Handle("/auth/", http.StripPrefix("/auth", app.Endpoints(latchkey.CreateParams{Audience: []string{"web", apiAudience}})))
	mux.Handle("/api/", app.Proxy())
	mux.Handle("/", http.FileServer(http.Dir(folder)))
	front := httptest.NewServer(network.Wrap(app.Protect(mux)))
	p.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
	})
	return front.URL
}

// serveAPI serves an API whose POST requests need a second factor.
func serveAPI(p *process, server *testserver.Server) *httptest.Server {
	verifier, err := resource.NewVerifier(server.URL, apiAudience, resource.VerifierOptions{Revocation: resource.Introspection, ClientID: "backend", ClientSecret: testserver.ClientSecret})
	if err != nil {
		p.Fatal(err)
	}
	middleware, err := resource.NewMiddleware(verifier, resource.MiddlewareOptions{})
	if err != nil {
		p.Fatal(err)
	}
	whoAmI := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := resource.TokenFromContext(r.Context())
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"user": token.Subject, "acr": token.ACR})
	})
	mux := http.NewServeMux()
	mux.Handle("GET /", middleware.Require()(whoAmI))
	mux.Handle("POST /", middleware.Require(resource.RequireACR("urn:latchkey:acr:2"))(whoAmI))
	api := httptest.NewServer(mux)
	p.Cleanup(func() {
		_ = verifier.Close()
		api.Close()
	})
	return api
}
