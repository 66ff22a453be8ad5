package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/sdk/go/resource"
)

// The API at a Latchkey in development mode: its id, which is the audience of its
// tokens, and the secret by which it follows what is revoked.
const (
	apiClientID = "demo-api"
	apiSecret   = "demo-api-secret-for-development-only"
)

// api is a resource server. Nothing but its verifier knows of Latchkey.
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

// Close stops following what is revoked.
func (a *api) Close() error { return a.verifier.Close() }

// Handler serves the API. Reading requires a scope, moving money a passkey that
// was used in the last five minutes: the time is that of the class, so a password
// of this minute does not make an older passkey pass.
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
