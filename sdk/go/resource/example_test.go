package resource_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
	"github.com/latchkey/latchkey/sdk/go/resource"
)

// Middleware that rejects requests without the scope orders:read.
func ExampleNewMiddleware() {
	issuer := latchkeytest.Start() // in production https://id.example.com
	defer issuer.Close()
	verifier, err := resource.NewVerifier(issuer.URL, latchkeytest.Audience, issuer.VerifierOptions())
	if err != nil {
		panic(err)
	}
	defer verifier.Close()
	api, err := resource.NewMiddleware(verifier, resource.MiddlewareOptions{Realm: "orders"})
	if err != nil {
		panic(err)
	}
	handler := api.Require(resource.RequireScope("orders:read"))(http.HandlerFunc(orders))

	for _, scope := range []string{"orders:read", "profile"} {
		r := httptest.NewRequest("GET", "/orders", nil)
		r.Header.Set("Authorization", "Bearer "+issuer.Token(latchkeytest.Claims{"scope": scope}))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(scope, w.Code)
	}
	// Output:
	// orders:read 200
	// profile 403
}

// A test calls a handler without the middleware, as a user of its choice.
func ExampleContextWithToken() {
	token := &resource.Token{Issuer: "https://id.example.com", Subject: "alice"}
	r := httptest.NewRequest("GET", "/orders", nil)
	w := httptest.NewRecorder()
	orders(w, r.WithContext(resource.ContextWithToken(r.Context(), token)))
	fmt.Println(w.Body)
	// Output:
	// the orders of alice of https://id.example.com
}

// A client that knows only the URL of a resource learns which issuer its
// access tokens must come from.
func ExampleDiscoverMetadata() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"resource":"http://%s/orders","authorization_servers":["https://id.example.com"]}`, r.Host)
	}))
	defer server.Close()
	metadata, err := resource.DiscoverMetadata(context.Background(), nil, server.URL+"/orders", "", false)
	if err != nil {
		panic(err)
	}
	fmt.Println(metadata.AuthorizationServers)
	// Output:
	// [https://id.example.com]
}
