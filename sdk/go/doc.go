// Package latchkey is the Go SDK of Latchkey, a session and token server, for
// apps: programs that sign users in.
//
// Your app authenticates its users with any authentication service. Then it
// exchanges the service's proof, a client token, for a session, and uses the
// session's access tokens until the user signs out:
//
//	client, err := latchkey.NewClient("https://id.example.com", "web", latchkey.ClientOptions{})
//	session, err := client.CreateSession(ctx, clientToken, latchkey.CreateParams{})
//	tokens, err := client.AccessToken(ctx, session) // refreshed when needed
//	err = client.SignOut(ctx, session)
//
// Concurrent callers share one refresh, and a lost response never loses a
// session: the request is repeated, also after a restart if a [Store] keeps the
// tokens. [Client.TokenFor] returns an access token for one API alone,
// [Client.TokenSource] connects to golang.org/x/oauth2, and [Client.StepUp]
// adds an authentication factor.
//
// Check errors with [errors.Is]: [ErrSessionEnded] means that the user must
// sign in again, and [ErrUnavailable] that the call may be repeated; the
// session is still there. Other refusals of the server are an [Error] with a
// stable Reason.
//
// Related packages: resource verifies access tokens in APIs, bff keeps tokens
// out of browsers, events receives webhooks and security event tokens, admin manages
// a deployment, and latchkeytest is an issuer for tests. Nothing here is required to use Latchkey, which speaks plain OAuth 2.0.
package latchkey

// Where things are:
//
//   - client.go, exchange.go: Client, and how it creates sessions
//   - session.go, tokens.go: Session, Store and Tokens
//   - refresh.go, step_up.go: the operations that replace tokens; inflight.go
//     runs one of them per session at a time, retry.go repeats requests, and
//     pending_step_up.go is a step-up without a response yet
//   - target.go, token_source.go: access tokens for one API, and for x/oauth2
//   - session_api.go, session_details.go, user_sessions.go, revoke.go: listing,
//     reading and ending sessions
//   - demand.go: the challenges of resource servers
//   - endpoint.go, error.go: requests to the server, and its refusals
