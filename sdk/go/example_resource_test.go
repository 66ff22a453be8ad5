package latchkey_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// A resource server lets reading through with a scope, and asks for a fresh
// strong proof before it moves money.
func ExampleResource() {
	verifier, err := latchkey.NewVerifier("https://id.example.com", "https://api.example.com", latchkey.VerifierOptions{Revocation: latchkey.None})
	if err != nil {
		panic(err)
	}
	defer verifier.Close()
	resource, err := latchkey.NewResource(verifier, latchkey.ResourceOptions{URL: "https://api.example.com"})
	if err != nil {
		panic(err)
	}

	mux := http.NewServeMux()
	mux.Handle(resource.MetadataPath(), resource.Metadata())
	mux.Handle("GET /orders", resource.Require(latchkey.RequireScope("orders:read"))(http.HandlerFunc(orders)))
	mux.Handle("POST /transfers", resource.Require(latchkey.RequireACR("phr", "phrh"), latchkey.MaxAge(5*time.Minute))(http.HandlerFunc(transfer)))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/orders", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output:
	// 401 Bearer realm="api", resource_metadata="https://api.example.com/.well-known/oauth-protected-resource"
}

func orders(w http.ResponseWriter, r *http.Request) {
	token := latchkey.FromContext(r.Context())
	fmt.Fprintf(w, "the orders of %s of %s", token.Subject, token.Issuer)
}

func transfer(http.ResponseWriter, *http.Request) {}
