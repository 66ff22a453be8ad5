package sqlstore_test

import (
	"context"
	"database/sql"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
	"github.com/latchkey/latchkey/sdk/go/bff/sqlstore"
)

// An app keeps its sessions in PostgreSQL and removes expired rows every hour.
func ExampleNew() {
	db, err := sql.Open("pgx", "postgres://app@localhost/app") // import _ "github.com/jackc/pgx/v5/stdlib"
	if err != nil {
		panic(err)
	}
	store, err := sqlstore.New(db, sqlstore.Options{})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	if err := store.CreateTable(ctx); err != nil {
		panic(err)
	}
	go func() {
		for range time.Tick(time.Hour) {
			_, _ = store.DeleteExpired(ctx)
		}
	}()

	client, err := latchkey.NewClient("https://id.example.com", "web", latchkey.ClientOptions{})
	if err != nil {
		panic(err)
	}
	app, err := bff.New(bff.Options{Client: client, Store: store})
	if err != nil {
		panic(err)
	}
	defer app.Close()
}
