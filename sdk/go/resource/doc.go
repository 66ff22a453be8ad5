// Package resource verifies the access tokens that a Latchkey server issues. It
// is for resource servers: APIs that receive tokens.
//
// To protect HTTP handlers, make one [Verifier] and one [Middleware] when the
// program starts:
//
//	verifier, err := resource.NewVerifier("https://id.example.com", "https://api.example.com", resource.VerifierOptions{
//		ClientID: "api", ClientSecret: secret, // follow the issuer's revocations
//	})
//	api, err := resource.NewMiddleware(verifier, resource.MiddlewareOptions{URL: "https://api.example.com"})
//	mux.Handle("GET /orders", api.Require(resource.RequireScope("orders:read"))(orders))
//
// A handler gets the verified token from [TokenFromContext]. To verify a token
// outside of HTTP, call [Verifier.Verify].
//
// Signatures are verified offline. Revocations arrive over a stream that the
// verifier keeps open, so a revoked token is rejected within a second and no
// request waits for the issuer. [VerifierOptions.Revocation] selects another
// way: a status list, introspection, or none.
//
// Errors wrap [latchkey.ErrInvalidToken] if a token must be rejected (HTTP
// 401), and [latchkey.ErrUnavailable] if it could not be checked (HTTP 503).
package resource

// Where things are:
//
//   - verifier.go, verify.go, verifier_options.go, verifier_status.go: Verifier;
//     token.go reads the claims, token_cache.go keeps verified tokens
//   - key_source.go: the issuer's keys
//   - feed.go, feed_run.go, feed_stream.go, feed_event.go: the revocation feed;
//     revoked_set.go holds its entries
//   - status_list.go, status_lists.go, introspection.go: the other ways to learn
//     of revocations
//   - middleware.go, requirement.go, challenge.go: Middleware, what it requires
//     and how it answers
//   - metadata.go: the metadata of the protected resource
