// Package admin is a client of the admin API of Latchkey, for programs that
// operators write: provisioning, support tools, reports.
//
//	client, err := admin.New(admin.Config{Server: "https://admin.example.com", Key: os.Getenv("LATCHKEY_ADMIN_KEY")})
//	web, err := client.Clients.Get(ctx, "default", "web")
//	web.Settings["access_token_ttl"] = "10m"
//	web, err = client.Clients.Put(ctx, "default", "web", web.Settings, admin.IfMatch(web.ETag))
//	for session, err := range client.Sessions.List(ctx, "default", admin.SessionQuery{User: "alice"}) {
//		…
//	}
//
// An admin key is made with "latchkey admin-keys create" on the server. Its role
// and its tenants decide what it may do; docs/sdk-go.md describes the errors.
//
// The server's refusals are a [latchkey.Error]: its Code is a stable word, such
// as managed_by_file, and its Faults name the members of the request that are
// wrong. Errors that wrap [latchkey.ErrUnavailable] may go away by themselves.
//
// The client repeats a request that got no response, or 502, 503 or 504, for as
// long as [Config].RetryWindow allows, if a repetition changes nothing: reads,
// Put without a condition (unless the response may have a new secret), and
// deletions that report nothing but their success.
// It sends everything else once.
package admin

// Where things are:
//
//   - client.go, connection.go, retry.go: Client, and how it sends requests
//   - page.go, settings.go, condition.go: what the resources share
//   - tenant.go, app_client.go, trusted_issuer.go, user.go, session.go,
//     signing_key.go, event.go, admin_key.go: one resource each
//   - follow.go: the stream of events
//   - suspension.go, explain.go, apply.go, stats.go: the other operations
