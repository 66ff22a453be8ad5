package redisstore_test

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
	"github.com/latchkey/latchkey/sdk/go/bff/redisstore"
	"github.com/latchkey/latchkey/sdk/go/bff/storetest"
)

// server starts a redis-server on a Unix socket.
func server(t *testing.T) (client *redis.Client, stop func()) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "redis.sock")
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("redis-server is required (Debian: apt-get install redis-server): %v", err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			_ = cmd.Wait() // it was killed
		}
	}
	t.Cleanup(stop)
	client = redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	deadline := time.Now().Add(30 * time.Second)
	for client.Ping(ctx).Err() != nil {
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer after 30 s")
		}
		time.Sleep(10 * time.Millisecond)
	}
	return client, stop
}

func TestTheRedisStoreMeetsItsContract(t *testing.T) {
	client, _ := server(t)
	storetest.Run(t, func(*testing.T) bff.Store { return redisstore.New(client, redisstore.Options{}) })
}

func TestSessionsExpireWithTheirEndAndStoresAreApart(t *testing.T) {
	client, _ := server(t)
	ctx := t.Context()
	one, other := redisstore.New(client, redisstore.Options{Prefix: "one:"}), redisstore.New(client, redisstore.Options{Prefix: "other:"})
	end := time.Now().Add(90 * time.Minute)
	if err := one.Create(ctx, "k", latchkey.Tokens{SessionID: "s", SessionExpiry: end}); err != nil {
		t.Fatal(err)
	}
	if at, err := client.ExpireTime(ctx, "one:k").Result(); err != nil || int64(at/time.Second) != end.Unix() {
		t.Errorf("the key expires at %v, %v; want %d", at, err, end.Unix())
	}
	if _, err := other.Load(ctx, "k"); !errors.Is(err, bff.ErrNoSession) {
		t.Errorf("another prefix loads it: %v", err)
	}
}

func TestAnUnreachableRedisSignsNobodyOut(t *testing.T) {
	client, stop := server(t)
	s := redisstore.New(client, redisstore.Options{})
	if err := s.Create(t.Context(), "k", latchkey.Tokens{SessionID: "s", SessionExpiry: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	stop()
	_, load := s.Load(t.Context(), "k")
	for what, err := range map[string]error{"Load": load, "Move": s.Move(t.Context(), "k", "l"), "Delete": s.Delete(t.Context(), "k")} {
		if err == nil || errors.Is(err, bff.ErrNoSession) {
			t.Errorf("%s returns %v; want an outage", what, err)
		}
	}
}
