package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/sdk/go/admin"
)

// The server counts up to 10,001.
func TestNumbersAboveTenThousandArePrintedAsMoreThanThat(t *testing.T) {
	t.Parallel()
	var printed strings.Builder
	must(t, printDestinations(&printed, []admin.EventDestination{{ID: "hooks", Status: admin.EventDestinationStatus{Waiting: 10_000, Dead: 10_001}}}))
	if !strings.Contains(printed.String(), "  10000    more than 10000  ") {
		t.Errorf("destinations list prints\n%s", &printed)
	}
	for n, want := range map[int]string{1: "1 live session\n", 10_000: "10000 live sessions\n", 10_001: "more than 10000 live sessions\n"} {
		printed.Reset()
		must(t, showUser(&printed, &models.User{}, nil, &n))
		if !strings.HasSuffix(printed.String(), ", "+want) {
			t.Errorf("users show prints %q", &printed)
		}
	}
	printed.Reset()
	must(t, showUser(&printed, &models.User{}, nil, nil))
	if !strings.HasSuffix(printed.String(), "too many stored sessions to count the live ones\n") {
		t.Errorf("users show prints %q", &printed)
	}
}

func TestAnOperatorTestsAndRepairsAnEventDestination(t *testing.T) {
	t.Parallel()
	const first = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	var answer, received atomic.Int32
	answer.Store(http.StatusNoContent)
	var mu sync.Mutex
	var last http.Header
	var body []byte
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		last = r.Header.Clone()
		body, _ = io.ReadAll(r.Body)
		received.Add(1)
		w.WriteHeader(int(answer.Load()))
	}))
	t.Cleanup(receiver.Close)
	verifies := func(secret string) bool {
		mu.Lock()
		defer mu.Unlock()
		hook, err := standardwebhooks.NewWebhook(secret)
		must(t, err)
		return hook.Verify(body, last) == nil
	}

	d := newDeployment(t, testdb.SQLite(t))
	operator := d.operator("owner")
	file := filepath.Join(t.TempDir(), "destinations.yaml")
	must(t, os.WriteFile(file, []byte("tenants: [{id: default, event_destinations: [{id: hooks, type: webhook, url: \""+receiver.URL+
		"\", allow_private_addresses: true, events: [session.], secret: "+first+"}]}]\n"), 0o600))
	operator.run("apply", "-f", file)

	const accepted = "The receiver accepted the test event: it answered 204.\n"
	if printed := operator.run("destinations", "test", "hooks"); printed != accepted || !verifies(first) {
		t.Errorf("destinations test prints\n%s", printed)
	}
	if printed := d.run("destinations", "test", "hooks"); printed != accepted || !verifies(first) {
		t.Errorf("destinations test, locally, prints\n%s", printed)
	}
	answer.Store(http.StatusTeapot)
	operator.rejects([]string{"destinations", "test", "hooks"}, "the test event was not accepted: the receiver answered 418")

	d.signIn(operator.server, "alice")
	eventually(t, "a failed attempt is listed", func() bool {
		return strings.Contains(operator.run("destinations", "deliveries", "hooks"), "the receiver answered 418")
	})
	answer.Store(http.StatusGone)
	eventually(t, "the destination is disabled", func() bool {
		return strings.Contains(operator.run("destinations", "list"), "  disabled  ")
	})
	answer.Store(http.StatusNoContent)
	if printed := operator.run("destinations", "enable", "hooks"); !strings.HasPrefix(printed, "Event destination hooks of tenant default is enabled. Its state is ") {
		t.Errorf("destinations enable prints\n%s", printed)
	}
	eventually(t, "the event is delivered", func() bool {
		return strings.Contains(operator.run("destinations", "deliveries", "hooks"), "  session.created  delivered  ")
	})

	before := received.Load()
	if printed := operator.run("destinations", "redeliver", "hooks", "--since", "1h"); !strings.HasPrefix(printed, "The events since 20") {
		t.Errorf("destinations redeliver --since prints\n%s", printed)
	}
	eventually(t, "the event is delivered again", func() bool { return received.Load() > before })
	if printed := operator.run("destinations", "redeliver", "hooks", "--dead"); printed != "0 events given up will be attempted again.\n" {
		t.Errorf("destinations redeliver --dead prints\n%s", printed)
	}
	operator.rejects([]string{"destinations", "redeliver", "hooks"}, "give either --dead or --since")

	second := strings.TrimSpace(operator.run("destinations", "secret", "hooks", "--previous-until", "1h"))
	if operator.run("destinations", "test", "hooks"); second == first || !verifies(first) || !verifies(second) {
		t.Error("while the secret changes, not both sign")
	}
	third := strings.TrimSpace(d.run("destinations", "secret", "hooks", "--previous-until", "0s"))
	if operator.run("destinations", "test", "hooks"); verifies(second) || !verifies(third) {
		t.Error("after the change, the new secret does not sign alone")
	}
	if printed := operator.run("users", "delete", "alice"); !strings.Contains(printed, "\nThese event destinations may have received events about the user: hooks. Their receivers keep what they have received: delete it there.\n") {
		t.Errorf("users delete prints\n%s", printed)
	}
	viewer := operator.with(d.adminKey("viewer"))
	viewer.run("destinations", "list")
	viewer.rejects([]string{"destinations", "test", "hooks"}, "Not allowed: the role viewer does not include this operation")
}
