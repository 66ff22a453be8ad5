package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"golang.org/x/oauth2"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// An app exchanges the proof of a sign-in for a session, uses its access token
// until the user leaves, and signs out.
func ExampleClient() {
	issuer := latchkeytest.Start() // in production https://id.example.com
	defer issuer.Close()
	ctx := context.Background()

	client, err := latchkey.NewClient(issuer.URL, "web", latchkey.ClientOptions{})
	if err != nil {
		panic(err)
	}
	clientToken := issuer.ClientToken("alice") // from the authentication service
	session, err := client.CreateSession(ctx, clientToken, latchkey.CreateParams{DeviceName: "Alice's phone"})
	if err != nil {
		panic(err)
	}

	tokens, err := client.AccessToken(ctx, session) // refreshed when needed
	switch {
	case errors.Is(err, latchkey.ErrSessionEnded):
		fmt.Println("sign in again")
	case errors.Is(err, latchkey.ErrUnavailable):
		fmt.Println("try again; the session is still there")
	case err != nil:
		panic(err)
	}
	details, err := client.ValidateSession(ctx, tokens.AccessToken)
	if err != nil {
		panic(err)
	}
	fmt.Println(details.Subject, details.Status)

	if err := client.SignOut(ctx, session); err != nil {
		panic(err)
	}
	_, err = client.AccessToken(ctx, session)
	fmt.Println(errors.Is(err, latchkey.ErrSessionEnded))
	// Output:
	// alice active
	// true
}

// A resource server requires a second factor. The user proves it, and the
// request is sent again.
func ExampleClient_StepUp() {
	issuer, ctx := latchkeytest.Start(), context.Background()
	defer issuer.Close()
	client, err := latchkey.NewClient(issuer.URL, "web", latchkey.ClientOptions{})
	if err != nil {
		panic(err)
	}
	session, err := client.CreateSession(ctx, issuer.ClientToken("alice"), latchkey.CreateParams{})
	if err != nil {
		panic(err)
	}
	transfers := twoFactors(client)
	defer transfers.Close()

	api := &http.Client{Transport: &oauth2.Transport{Source: client.TokenSource(ctx, session)}}
	answer, err := api.Get(transfers.URL)
	if err != nil {
		panic(err)
	}
	answer.Body.Close()
	if demand, ok := latchkey.ParseChallenge(answer.Header); ok {
		fmt.Println("required:", demand.ACRValues)
		proof := issuer.ClientToken("alice", latchkeytest.Claims{"amr": []string{"otp"}}) // after the user has entered a code
		if err := client.StepUp(ctx, session, proof, latchkey.StepUpParams{Demand: demand}); err != nil {
			panic(err)
		}
	}
	answer, err = api.Get(transfers.URL)
	if err != nil {
		panic(err)
	}
	answer.Body.Close()
	fmt.Println(answer.StatusCode)
	// Output:
	// required: [urn:latchkey:acr:2]
	// 200
}

// twoFactors returns a resource server that requires two factors.
func twoFactors(client *latchkey.Client) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("Authorization")[len("Bearer "):]
		if details, err := client.ValidateSession(r.Context(), token); err != nil || details.ACR != "urn:latchkey:acr:2" {
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_user_authentication", acr_values="urn:latchkey:acr:2"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
}

// A back end lists where a user is signed in, and signs the user out
// everywhere. Its client has `manage_sessions`.
func ExampleClient_UserSessions() {
	client, err := latchkey.NewClient("https://id.example.com", "support", latchkey.ClientOptions{ClientSecret: "…"})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	for session, err := range client.UserSessions(ctx, "alice") {
		if err != nil {
			panic(err)
		}
		fmt.Println(session.Device.Name, session.LastActiveAt)
	}
	if err := client.EndUserSessions(ctx, "alice"); err != nil {
		panic(err)
	}
}

// An app calls an API with a token for that API only.
func ExampleClient_TokenFor() {
	issuer, ctx := latchkeytest.Start(), context.Background()
	defer issuer.Close()
	client, err := latchkey.NewClient(issuer.URL, "web", latchkey.ClientOptions{})
	if err != nil {
		panic(err)
	}
	session, err := client.CreateSession(ctx, issuer.ClientToken("alice"), latchkey.CreateParams{
		Audience: []string{"web", "https://api.example.com"}, Scope: []string{"orders:read", "orders:write"},
	})
	if err != nil {
		panic(err)
	}
	tokens, err := client.TokenFor(ctx, session, latchkey.Target{
		Audience: []string{"https://api.example.com"}, Scope: []string{"orders:read"},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(tokens.Scope) // send tokens.AccessToken to the API
	// Output:
	// orders:read
}
