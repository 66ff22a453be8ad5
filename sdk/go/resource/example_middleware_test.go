package resource_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/latchkey/latchkey/sdk/go/resource"
)

// A resource server requires a scope for reading, and a recent strong
// authentication for moving money.
func ExampleMiddleware() {
	verifier, err := resource.NewVerifier("https://id.example.com", "https://api.example.com", resource.VerifierOptions{Revocation: resource.None})
	if err != nil {
		panic(err)
	}
	defer verifier.Close()
	api, err := resource.NewMiddleware(verifier, resource.MiddlewareOptions{URL: "https://api.example.com"})
	if err != nil {
		panic(err)
	}

	mux := http.NewServeMux()
	mux.Handle(api.MetadataPath(), api.MetadataHandler())
	mux.Handle("GET /orders", api.Require(resource.RequireScope("orders:read"))(http.HandlerFunc(orders)))
	mux.Handle("POST /transfers", api.Require(resource.RequireACR("phr", "phrh"), resource.MaxAge(5*time.Minute))(http.HandlerFunc(transfer)))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/orders", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output:
	// 401 Bearer realm="api", resource_metadata="https://api.example.com/.well-known/oauth-protected-resource"
}

func orders(w http.ResponseWriter, r *http.Request) {
	token := resource.TokenFromContext(r.Context())
	fmt.Fprintf(w, "the orders of %s of %s", token.Subject, token.Issuer)
}

func transfer(http.ResponseWriter, *http.Request) {}
