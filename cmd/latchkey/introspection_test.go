package main

import (
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

// Deleting the row without an event shows whether a node reads it.
func TestANodeIntrospectsFromMemoryIfConfigured(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	d := newRaceDeployment(t, url)
	reading, remembering := d.serve(), d.serve("LATCHKEY_INTROSPECTION_MAX_AGE=10s")
	access := d.signIn(reading, "alice").text("access_token")
	statement(t, url, "DELETE FROM sessions")
	if got := reading.introspect(access); !got.is(false) {
		t.Errorf("by default: %d %s", got.status, got.body)
	}
	eventually(t, "an answer from memory", func() bool { return remembering.introspect(access).is(true) })
}
