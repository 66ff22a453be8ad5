// Package wire reads what an issuer publishes and signs: its metadata, its key
// set, and JSON Web Signatures. The packages latchkey, for apps, and resource,
// for resource servers, are both built on it. Package admin, for operators, uses
// its streams and errors.
//
// Fetching: [Issuer] discovers the metadata of an issuer, [Get] and [GetJSON]
// fetch other documents, and [Cached] keeps a fetched document up to date.
// [KeySource] is the key set.
// [Backoff] computes the pauses between attempts.
//
// Reading: [ParseCompact] and [ParseKeySet] parse a JWS and a key set,
// [StrictObject] rejects JSON that two parsers could read differently, and
// [UnverifiedClaims] decodes a JWT whose signature does not matter. [EventReader]
// reads a stream of server-sent events.
package wire
