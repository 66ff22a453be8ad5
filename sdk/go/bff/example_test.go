package bff_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
)

// The back end of a single-page app, whose scripts send the header
// Latchkey-CSRF with every request and never see a token.
func Example() {
	client, err := latchkey.NewClient("https://id.example.com", "web", latchkey.ClientOptions{})
	if err != nil {
		panic(err)
	}
	api := latchkey.Target{Audience: []string{"https://api.example.com"}}
	app, err := bff.New(bff.Options{Client: client, Upstreams: map[string]bff.Upstream{"/api/": {URL: "https://api.example.com/", Target: api}}})
	if err != nil {
		panic(err)
	}
	defer app.Close()

	mux := http.NewServeMux()
	mux.Handle("/api/", app.Proxy())
	mux.HandleFunc("POST /sign-in", func(w http.ResponseWriter, r *http.Request) {
		ctx := latchkey.WithUserAgent(r.Context(), r.UserAgent())
		session, err := client.CreateSession(ctx, r.PostFormValue("client_token"), latchkey.CreateParams{Audience: []string{"web", "https://api.example.com"}})
		if err == nil {
			err = app.SignIn(w, r, session)
		}
		if err != nil {
			http.Error(w, "the sign-in failed", http.StatusUnauthorized)
		}
	})
	mux.HandleFunc("POST /sign-out", func(w http.ResponseWriter, r *http.Request) {
		if err := app.SignOut(w, r); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
	handler := app.Protect(mux) // for http.ListenAndServeTLS

	request := httptest.NewRequest("GET", "https://app.example.com/api/orders", nil) // from a script of the page
	request.Header.Set(bff.CSRFHeader, "1")
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	fmt.Println(answer.Code, answer.Body)
	// Output:
	// 401 {"error":"login_required"}
}
