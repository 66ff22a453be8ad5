package main

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey/latchkey/sdk/go/resource"
)

// The client of the API at a Latchkey in development mode. Its id is the audience of
// the API's tokens; with its secret the API follows the revocation feed.
const (
	apiClientID = "demo-api"
	apiSecret   = "demo-api-secret-for-development-only"
)

// api is a resource server: the shop's orders and store credit. Only its verifier
// depends on Latchkey.
type api struct {
	verifier   *resource.Verifier
	middleware *resource.Middleware

	mu    sync.Mutex
	spent map[string]int // cents of store credit that a user has sent
}

// welcomeCredit is the store credit of a new user, in cents.
const welcomeCredit = 40_00

func newAPI(issuer string) (*api, error) {
	verifier, err := resource.NewVerifier(issuer, apiClientID, resource.VerifierOptions{ClientID: apiClientID, ClientSecret: apiSecret})
	if err != nil {
		return nil, err
	}
	middleware, err := resource.NewMiddleware(verifier, resource.MiddlewareOptions{})
	return &api{verifier: verifier, middleware: middleware, spent: map[string]int{}}, err
}

// Close stops following the revocation feed.
func (a *api) Close() error { return a.verifier.Close() }

// Handler serves the API. Reading requires a scope. Sending credit requires a passkey
// that was used in the last five minutes. MaxAge applies to the class of the passkey,
// so a password that was used just now does not make an older passkey sufficient.
func (a *api) Handler() http.Handler {
	reader := a.middleware.Require(resource.RequireScope("orders:read"))
	payer := a.middleware.Require(resource.RequireACR("phr", "phrh"), resource.MaxAge(5*time.Minute))
	mux := http.NewServeMux()
	mux.Handle("GET /orders", reader(http.HandlerFunc(a.orders)))
	mux.Handle("POST /transfers", payer(http.HandlerFunc(a.transfer)))
	return mux
}

type order struct {
	Item  string `json:"item"`
	Cents int    `json:"cents"`
	State string `json:"state"`
}

// orders serves the orders and the credit of the user, who is the token's subject.
func (a *api) orders(w http.ResponseWriter, r *http.Request) {
	user := resource.TokenFromContext(r.Context()).Subject
	a.mu.Lock()
	defer a.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{
		"user": user, "credit": welcomeCredit - a.spent[user],
		"orders": []order{
			{"Assam, 250 g", 9_40, "Arrives tomorrow"},
			{"Ginger biscuits", 4_20, "Delivered"},
			{"Cast iron teapot", 38_00, "Delivered"},
		},
	})
}

// transfer sends store credit to a friend.
func (a *api) transfer(w http.ResponseWriter, r *http.Request) {
	user := resource.TokenFromContext(r.Context()).Subject
	var body struct {
		To    string `json:"to"`
		Cents int    `json:"cents"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&body); err != nil || body.To == "" || body.Cents <= 0 {
		answer(w, http.StatusBadRequest, map[string]any{"error": "to and cents are required"})
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if body.Cents > welcomeCredit-a.spent[user] {
		answer(w, http.StatusConflict, map[string]any{"error": "not enough credit"})
		return
	}
	a.spent[user] += body.Cents
	answer(w, http.StatusOK, map[string]any{"to": body.To, "cents": body.Cents, "credit": welcomeCredit - a.spent[user]})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
