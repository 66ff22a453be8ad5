package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/admin"
)

// Change one setting, unless somebody else has changed the client meanwhile.
func Example() {
	server := example() // in production the address of admin_listen
	defer server.Close()
	ctx := context.Background()

	client, err := admin.New(admin.Config{Server: server.URL, Key: "lk_ak_example"})
	if err != nil {
		panic(err)
	}
	web, err := client.Clients.Get(ctx, "default", "web")
	if err != nil {
		panic(err)
	}
	web.Settings["access_token_ttl"] = "10m"
	_, err = client.Clients.Put(ctx, "default", "web", web.Settings, admin.IfMatch(web.ETag))
	var refusal *latchkey.Error
	switch {
	case errors.As(err, &refusal) && refusal.Code == "precondition_failed":
		fmt.Println("it was changed meanwhile: read it again")
	case errors.As(err, &refusal) && refusal.Code == "managed_by_file":
		fmt.Println("change it in the server's file")
	case errors.Is(err, latchkey.ErrUnavailable):
		fmt.Println("try again later")
	case err != nil:
		panic(err)
	default:
		fmt.Println("changed")
	}
	// Output: change it in the server's file
}

// List everything, page by page.
func ExampleSessions_List() {
	server := example()
	defer server.Close()
	client, err := admin.New(admin.Config{Server: server.URL, Key: "lk_ak_example"})
	if err != nil {
		panic(err)
	}
	for session, err := range client.Sessions.List(context.Background(), "default", admin.SessionQuery{User: "alice", State: "active"}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(session.Client, session.Device.Name)
	}
	// Output:
	// web Alice's phone
	// web Alice's laptop
}

// Follow what happens, and resume after the last event that was handled.
func ExampleEvents_Follow() {
	server := example()
	defer server.Close()
	client, err := admin.New(admin.Config{Server: server.URL, Key: "lk_ak_example"})
	if err != nil {
		panic(err)
	}
	last := "" // from where you keep it
	query := admin.EventQuery{Types: []string{"session.ended."}}
	for event, err := range client.Events.Follow(context.Background(), "default", query, admin.FollowOptions{LastEventID: last}) {
		if err != nil {
			fmt.Println("stopped:", err)
			break
		}
		fmt.Println(event.Type, event.User)
		last = event.ID
		break // or go on
	}
	// Output: session.ended.signed_out alice
}

// See what a document would change.
func ExampleClient_Apply() {
	server := example()
	defer server.Close()
	client, err := admin.New(admin.Config{Server: server.URL, Key: "lk_ak_example"})
	if err != nil {
		panic(err)
	}
	document := []byte("tenants:\n- id: default\n  clients:\n  - { id: web, access_token_ttl: 10m }\n")
	applied, err := client.Apply(context.Background(), document, admin.ApplyOptions{YAML: true, DryRun: true})
	if err != nil {
		panic(err)
	}
	for _, change := range applied.Changes {
		fmt.Println(change.Change, change.Kind, change.ID)
		for _, field := range change.Fields {
			fmt.Printf("  %s: %s → %s\n", field.Name, field.From, field.To)
		}
	}
	// Output:
	// changed client web
	//   access_token_ttl: "5m" → "10m"
}

// example answers like a small deployment.
func example() *httptest.Server {
	mux := http.NewServeMux()
	const at = "/admin/v1/tenants/default/"
	mux.HandleFunc("GET "+at+"clients/web", answer(200, `{"id":"web","auth":"none","status":{"enabled":true,"managed_by":"file"}}`, `ETag: "1"`))
	mux.HandleFunc("PUT "+at+"clients/web", problem(409, "managed_by_file"))
	mux.HandleFunc("GET "+at+"sessions", func(w http.ResponseWriter, r *http.Request) {
		page := `{"items":[{"client":"web","device":{"name":"Alice's phone"}}],"next_cursor":"2"}`
		if r.FormValue("cursor") != "" {
			page = `{"items":[{"client":"web","device":{"name":"Alice's laptop"}}]}`
		}
		answer(200, page)(w, r)
	})
	mux.HandleFunc("GET "+at+"events/stream", events(true, "id: 7\ndata: {\"id\":\"7\",\"type\":\"session.ended.signed_out\",\"user\":\"alice\"}\n\n"))
	mux.HandleFunc("POST /admin/v1/apply", answer(200, `{"dry_run":true,"changes":[{"change":"changed","kind":"client","tenant":"default","id":"web","fields":[{"name":"access_token_ttl","from":"5m","to":"10m"}]}]}`))
	return httptest.NewServer(mux)
}
