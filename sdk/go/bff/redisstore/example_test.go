package redisstore_test

import (
	"github.com/redis/go-redis/v9"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
	"github.com/latchkey/latchkey/sdk/go/bff/redisstore"
)

// An app keeps its sessions in Redis.
func ExampleNew() {
	db := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer db.Close()
	client, err := latchkey.NewClient("https://id.example.com", "web", latchkey.ClientOptions{})
	if err != nil {
		panic(err)
	}
	app, err := bff.New(bff.Options{Client: client, Store: redisstore.New(db, redisstore.Options{})})
	if err != nil {
		panic(err)
	}
	defer app.Close()
}
