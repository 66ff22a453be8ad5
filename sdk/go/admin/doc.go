// Package admin is a client of Latchkey's admin API, for the programs of operators:
// provisioning, support tools, reports.
//
//	client, err := admin.New(admin.Config{Server: "https://admin.example.com", Key: os.Getenv("LATCHKEY_ADMIN_KEY")})
//	web, err := client.Clients.Get(ctx, "default", "web")
//	web.Settings["access_token_ttl"] = "10m"
//	web, err = client.Clients.Put(ctx, "default", "web", web.Settings, admin.IfMatch(web.ETag))
//	for session, err := range client.Sessions.List(ctx, "default", admin.SessionQuery{User: "alice"}) {
//		…
//	}
//
// "latchkey admin-keys create" on the server creates an admin key. Its role and its
// tenants determine which operations it may call.
//
// If the server rejects a request, the error is a [latchkey.Error]: its Code is a
// constant, such as managed_by_file, and its Faults point to the wrong members of the
// request. An error that wraps [latchkey.ErrUnavailable] may be temporary.
// docs/sdk-go.md describes the errors.
//
// If a request gets no response, or 502, 503 or 504, the client retries it within
// [Config].RetryWindow, provided that a second request changes nothing: reads, Put
// without a condition (unless the response may contain a new secret), and deletions
// that return no result. It sends every other request once.
package admin

// The files:
//
//   - client.go, connection.go, retry.go: Client, and how it sends requests
//   - page.go, settings.go, condition.go: what the resources share
//   - tenant.go, app_client.go, trusted_issuer.go, user.go, session.go,
//     signing_key.go, event.go, admin_key.go: one resource each
//   - follow.go: the stream of events
//   - suspension.go, explain.go, apply.go, stats.go: the other operations
