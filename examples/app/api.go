package main

import (
	"encoding/json"
	"net/http"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// The API at a Latchkey in development mode: its id, which is the audience of its
// tokens, and the secret by which it follows what is revoked.
const (
	apiClientID = "demo-api"
	apiSecret   = "demo-api-secret-for-development-only"
)

// api is a resource server. Nothing but its verifier knows of Latchkey.
type api struct {
	verifier *latchkey.Verifier
	resource *latchkey.Resource
}

func newAPI(issuer string) (*api, error) {
	verifier, err := latchkey.NewVerifier(issuer, apiClientID, latchkey.VerifierOptions{ClientID: apiClientID, ClientSecret: apiSecret})
	if err != nil {
		return nil, err
	}
	resource, err := latchkey.NewResource(verifier, latchkey.ResourceOptions{})
	return &api{verifier, resource}, err
}

// Close stops following what is revoked.
func (a *api) Close() error { return a.verifier.Close() }

// Handler serves the API. Reading requires a scope, moving money a passkey that
// was used in the last five minutes: the time is that of the class, so a password
// of this minute does not make an older passkey pass.
func (a *api) Handler() http.Handler {
	reader := a.resource.Require(latchkey.RequireScope("orders:read"))
	payer := a.resource.Require(latchkey.RequireACR("phr", "phrh"), latchkey.MaxAge(5*time.Minute))
	mux := http.NewServeMux()
	mux.Handle("GET /orders", reader(http.HandlerFunc(orders)))
	mux.Handle("POST /transfers", payer(http.HandlerFunc(transfer)))
	return mux
}

func orders(w http.ResponseWriter, r *http.Request) {
	token := latchkey.FromContext(r.Context())
	answer(w, map[string]any{"user": token.Subject, "audience": token.Audience, "orders": []string{"tea", "biscuits"}})
}

func transfer(w http.ResponseWriter, r *http.Request) {
	token := latchkey.FromContext(r.Context())
	answer(w, map[string]any{"user": token.Subject, "transferred": true, "acr": token.ACR})
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}
