package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/sdk/go/resource"
)

// The client of the API at a Latchkey in development mode. Its id is the audience of
// the API's tokens; with its secret the API follows the revocation feed.
const (
	apiClientID = "demo-api"
	apiSecret   = "demo-api-secret-for-development-only"
)

// api is a resource server. Only its verifier depends on Latchkey.
type api struct {
	verifier   *resource.Verifier
	middleware *resource.Middleware
}

func newAPI(issuer string) (*api, error) {
	verifier, err := resource.NewVerifier(issuer, apiClientID, resource.VerifierOptions{ClientID: apiClientID, ClientSecret: apiSecret})
	if err != nil {
		return nil, err
	}
	middleware, err := resource.NewMiddleware(verifier, resource.MiddlewareOptions{})
	return &api{verifier, middleware}, err
}

// Close stops following the revocation feed.
func (a *api) Close() error { return a.verifier.Close() }

// Handler serves the API. Reading requires a scope. Moving money requires a passkey
// that was used in the last five minutes. MaxAge applies to the class of the passkey,
// so a password that was used just now does not make an older passkey sufficient.
func (a *api) Handler() http.Handler {
	reader := a.middleware.Require(resource.RequireScope("orders:read"))
	payer := a.middleware.Require(resource.RequireACR("phr", "phrh"), resource.MaxAge(5*time.Minute))
	mux := http.NewServeMux()
	mux.Handle("GET /orders", reader(http.HandlerFunc(orders)))
	mux.Handle("POST /transfers", payer(http.HandlerFunc(transfer)))
	return mux
}

func orders(w http.ResponseWriter, r *http.Request) {
	token := resource.TokenFromContext(r.Context())
	answer(w, map[string]any{"user": token.Subject, "audience": token.Audience, "orders": []string{"tea", "biscuits"}})
}

func transfer(w http.ResponseWriter, r *http.Request) {
	token := resource.TokenFromContext(r.Context())
	answer(w, map[string]any{"user": token.Subject, "transferred": true, "acr": token.ACR})
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}
