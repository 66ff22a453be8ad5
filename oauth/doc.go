// Package oauth is the OAuth server: it authenticates clients, verifies client
// tokens, runs the grants, signs access tokens, and answers for them. It is the
// only package that imports fosite and go-oidc. Its package keys holds the root
// secrets and the signing keys.
//
// [Server] has one method for each endpoint. Package handlers routes requests to
// them, package models stores what they decide, and package session contains the
// rules of a session.
package oauth

// Where things are:
//
// Every request:
//   - server.go: Server, Call, and what all endpoints do
//   - registry.go, tenant.go, client.go: tenants and their clients, from memory
//   - request.go: forms and queries; device.go: device, user agent and address
//   - client_auth.go, client_secret.go, throttle.go: client authentication, and its
//     limit
//   - bearer.go, caller.go, session_request.go: who calls an endpoint about sessions
//   - origin.go: requests of web pages
//   - errors.go, reason.go: errors of the wire; session_reason.go: why a session
//     is over, for those who may know
//
// The token endpoint:
//   - fosite.go: everything that uses fosite; grant.go: the grants
//   - exchange.go: a client token for a session
//   - refresh.go, late_retry.go: refresh
//   - step_up.go, step_up_handles.go: step-up
//   - session_token_exchange.go: a session token for an access token
//   - client_credentials.go: tokens without a user
//   - explain.go: what an exchange of a client token would do, for operators
//   - scope.go, target.go, demand.go: scopes, audiences, and the assurance that a
//     request demands
//
// Client tokens:
//   - subject.go: verifying one: its issuer, audience and signature; subject_claims.go:
//     its times and other claims
//   - issuer.go: trusted issuers; package issuerkeys finds their keys, and package
//     fetch makes the requests for them
//   - issuer_check.go, inspect.go: checks for operators
//   - client_token.go, client_token_mint.go: client tokens for back ends that sign
//     users in themselves
//   - attribute.go: attributes of the user; assurance.go, session_assurance.go: what
//     the factors prove
//   - package expr: CEL expressions, within limits
//   - check.go: the settings that need a compiler or a key parser to check
//
// Own tokens and keys:
//   - package keys: root secrets and what is derived from them, refresh and session
//     tokens, digests, sealed secrets, and the signing keys of a tenant
//   - root.go: root secrets in use, and moving to another one
//   - rotation.go: making, announcing and retiring signing keys
//   - slots.go: how many signatures may be in progress
//   - access_token.go, claims.go: access tokens; own_token.go: verifying them
//   - admin_key.go, manage.go: keys of the admin API, and methods for it
//
// Other endpoints:
//   - metadata.go, accept.go: metadata, and serving the JWKS, which package keys builds;
//     userinfo.go: UserInfo
//   - introspect.go, introspect_access.go, introspect_jwt.go: introspection
//   - revoke.go: revocation
//   - session.go, session_object.go, session_extend.go: the session API
//   - revocations.go, revocation_cursor.go, revocation_stream.go, feed.go,
//     stream_writer.go: the revocation feed
//   - ssf_receiver.go, ssf_poll.go, ssf_stream.go, ssf_status.go, ssf_metadata.go:
//     receivers of security events, which package delivery sends
//   - status_list.go, status_list_cache.go, status_list_token.go: status lists
