package models_test

import (
	"reflect"
	"testing"

	"github.com/latchkey/latchkey/models"
)

func TestInsecureHostsAreThoseReachedOverANetworkWithoutVerifiedTLS(t *testing.T) {
	for url, want := range map[string][]string{
		"sqlite:latchkey.db":                                        nil,
		"postgres://u@127.0.0.1/db":                                 nil,
		"postgres://u@localhost/db?sslmode=disable":                 nil,
		"postgres:///db?host=/var/run/postgresql":                   nil,
		"postgres://u@db.internal/db?sslmode=verify-full":           nil,
		"postgres://u@db.internal/db":                               {"db.internal: without TLS"}, // prefer, which goes on without
		"postgres://u@db.internal/db?sslmode=disable":               {"db.internal: without TLS"},
		"postgres://u@db.internal/db?sslmode=require":               {"db.internal: with TLS that does not verify the server's certificate"},
		"postgres://u@127.0.0.1,db1,db2/db?sslmode=disable":         {"db1: without TLS", "db2: without TLS"},
		"postgres://u@10.0.0.1:5432,10.0.0.1:5433/db?sslmode=allow": {"10.0.0.1: without TLS"},
	} {
		got, err := models.InsecureHosts(url)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, %v; want %q", url, got, err, want)
		}
	}
	if _, err := models.InsecureHosts("postgres://u:secret@[/db"); err == nil || err.Error() != "the database URL cannot be parsed" {
		t.Errorf("a URL that cannot be parsed: %v", err)
	}
}
