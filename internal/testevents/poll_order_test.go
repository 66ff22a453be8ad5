package testevents

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// refusing is the body of a poll that refuses tokens and does not wait.
func refusing(ids ...string) string {
	errs := map[string]any{}
	for _, id := range ids {
		errs[id] = map[string]string{"err": "invalid_key", "description": "no such kid"}
	}
	text, _ := json.Marshal(map[string]any{"returnImmediately": true, "setErrs": errs})
	return string(text)
}

// stored returns how far a destination of the tenant "default" has come, and the events
// that it has given up.
func stored(d *testserver.Deployment, id string) (*models.DeliveryState, []models.Delivery) {
	d.T.Helper()
	key := models.DestinationKey{Tenant: "default", ID: id}
	state, err := d.Store.DeliveryState(d.T.Context(), key)
	if err != nil {
		d.T.Fatal(err)
	}
	dead, err := d.Store.Deliveries(d.T.Context(), key, true, models.EventID{}, 100)
	if err != nil {
		d.T.Fatal(err)
	}
	return state, dead
}

// redeliver lets a destination get again what was given up.
func redeliver(d *testserver.Deployment, id string) {
	d.T.Helper()
	if _, err := d.Store.RedeliverDead(d.T.Context(), models.DestinationKey{Tenant: "default", ID: id}, models.ServerActor); err != nil {
		d.T.Fatal(err)
	}
}

// The state of the stream moves forward only as far as the receiver has answered.
func TestUnansweredTokensAreRepeatedHoweverOldTheyAre(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		signIns(d, 3)
		all, _ := poll(d, "stream", now)
		for range 3 {
			d.Clock.Advance(2 * models.LateCommit)
			if sets, more := poll(d, "stream", now); !slices.Equal(jtis(sets), jtis(all)) || more {
				t.Errorf("polled %v, more: %t, want %v", jtis(sets), more, jtis(all))
			}
		}
		// Nor does it move beyond the first one, if the receiver answers the others.
		ids := jtis(all)
		later := maps.Clone(all)
		delete(later, ids[0])
		for range 3 {
			d.Clock.Advance(2 * models.LateCommit)
			if sets, more := poll(d, "stream", ack(later)); !slices.Equal(jtis(sets), ids[:1]) || more {
				t.Errorf("polled %v, more: %t, want %v", jtis(sets), more, ids[:1])
			}
		}
		poll(d, "stream", ack(all))
		d.Clock.Advance(2 * models.LateCommit)
		if sets, more := poll(d, "stream", now); len(sets) != 0 || more {
			t.Errorf("after every answer: %v, more: %t", jtis(sets), more)
		}
		// Otherwise the list of what it has answered would grow until it is full.
		if state, _ := stored(d, "stream"); len(state.Accepted) != 0 {
			t.Errorf("%d answers are remembered", len(state.Accepted))
		}
	})
}

func TestAnAnswerIsCountedOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		signIns(d, 2)
		transmit(d, polled("stream", paused))
		transmit(d, polled("stream")) // two events about the status
		sets, _ := poll(d, "stream", now)
		for range 2 {
			poll(d, "stream", ack(sets))
		}
		if counts := d.OAuth.Deliverer().Counts(); len(sets) != 4 || counts.Delivered != 4 || counts.Failed != 0 {
			t.Errorf("%d tokens, counts %+v", len(sets), counts)
		}
	})
}

func TestATokenThatIsAcknowledgedAndRefusedWasRefused(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		d.SignIn("alice")
		sets, _ := poll(d, "stream", now)
		id := jtis(sets)[0]
		poll(d, "stream", strings.TrimSuffix(refusing(id), "}")+fmt.Sprintf(`,"ack":[%q]}`, id))
		if _, dead := stored(d, "stream"); len(dead) != 1 || dead[0].Event.String() != id {
			t.Errorf("given up: %+v", dead)
		}
	})
}

// Otherwise the operator would see errors of events that the stream never gets.
func TestAnAnswerAboutAnEventOfAnotherStreamIsIgnored(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("ends", only("session.ended.")), polled("all"))
		d.SignIn("alice")
		transmit(d, polled("ends", only("session.ended.")), polled("all", paused))
		status, _ := poll(d, "all", now)
		transmit(d, polled("ends", only("session.ended.")), polled("all"))
		sets, _ := poll(d, "all", now)
		if len(status) != 1 || len(sets) != 3 {
			t.Fatalf("%d and %d tokens", len(status), len(sets))
		}
		poll(d, "ends", refusing(jtis(sets)...))
		poll(d, "ends", ack(sets))
		if state, dead := stored(d, "ends"); len(dead)+len(state.Accepted)+len(state.Recent) != 0 || state.LastError != "" {
			t.Errorf("%+v, given up: %+v", state, dead)
		}
		if left, _ := poll(d, "all", now); !slices.Equal(jtis(left), jtis(sets)) {
			t.Errorf("the other stream has %v left, want %v", jtis(left), jtis(sets))
		}
	})
}

func TestAPollNamesMoreOfWhatIsSentAgain(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		signIns(d, 3)
		all, _ := poll(d, "stream", now)
		ids := jtis(all)
		poll(d, "stream", refusing(ids...))
		redeliver(d, "stream")
		for most, more := range map[int]bool{1: true, 2: true, 3: false} {
			sets, got := poll(d, "stream", fmt.Sprintf(`{"maxEvents":%d,"returnImmediately":true}`, most))
			if !slices.Equal(jtis(sets), ids[:most]) || got != more {
				t.Errorf("maxEvents %d: %v, more: %t", most, jtis(sets), got)
			}
		}

		// The log keeps one of them no longer.
		gone, _ := models.ParseEventID(ids[0])
		d.Tamper(fmt.Sprintf("DELETE FROM events WHERE id = %s", literal(url, gone)))
		for range 2 {
			if sets, more := poll(d, "stream", now); !slices.Equal(jtis(sets), ids[1:]) || more {
				t.Errorf("polled %v, more: %t, want %v", jtis(sets), more, ids[1:])
			}
		}
		if waiting, _, err := d.Store.CountDeliveries(t.Context(), models.DestinationKey{Tenant: "default", ID: "stream"}); err != nil || waiting != 2 {
			t.Errorf("%d events wait, %v", waiting, err)
		}
	})
}

func TestAPausedStreamReturnsAtMostMaxEvents(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		for _, change := range [][]func(*settings.DestinationSpec){{paused}, nil, {paused}} {
			transmit(d, polled("stream", change...))
			d.Clock.Advance(time.Second)
		}
		for most, more := range map[int]bool{0: true, 1: true, 2: true, 3: false} {
			if sets, got := poll(d, "stream", fmt.Sprintf(`{"maxEvents":%d,"returnImmediately":true}`, most)); len(sets) != most || got != more {
				t.Errorf("maxEvents %d: %d tokens, more: %t", most, len(sets), got)
			}
		}
	})
}

// literal returns an id as a statement has it.
func literal(url string, id models.EventID) string {
	if strings.HasPrefix(url, "sqlite") {
		return fmt.Sprintf("x'%x'", id[:])
	}
	return fmt.Sprintf(`'\x%x'::bytea`, id[:])
}

// fill adds events to the log that no stream gets.
func fill(d *testserver.Deployment, n int) {
	d.T.Helper()
	events, err := d.Store.NewEvents(d.T.Context(), []string{"default"}, models.EventID{}, 500)
	if err != nil {
		d.T.Fatal(err)
	}
	at := slices.IndexFunc(events, func(e models.ListedEvent) bool { return e.Delivered() == "config.changed" })
	values := make([]string, n)
	for i := range values {
		d.Clock.Advance(time.Millisecond)
		values[i] = "(" + literal(d.DatabaseURL, models.EventFrom(d.Clock.Now())) + ")"
	}
	d.Clock.Advance(time.Millisecond)
	const columns = ", tenant_id, type, session_id, client_id, issuer_id, subject, details, until"
	d.Tamper("INSERT INTO events (at, id" + columns + ") SELECT at, filling.column1" + columns + " FROM events, (VALUES " + strings.Join(values, ",") +
		") AS filling WHERE id = " + literal(d.DatabaseURL, events[at].ID))
}

func TestAPollReadsTheLogInParts(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		const window = 8000
		d := transmitter(t, url, polled("stream"))
		d.SignIn("alice")
		fill(d, window+1000)
		d.SignIn("bob")
		d.Clock.Advance(2 * models.LateCommit)
		// While alice's event is unanswered, the receiver gets nothing from beyond the window.
		first, _ := poll(d, "stream", now)
		if again, _ := poll(d, "stream", now); len(first) != 1 || !slices.Equal(jtis(again), jtis(first)) {
			t.Fatalf("polled %v, then %v", jtis(first), jtis(again))
		}
		sets, more := poll(d, "stream", ack(first))
		if len(sets) != 0 || !more {
			t.Fatalf("the first part has %v, more: %t", jtis(sets), more)
		}
		if sets, more = poll(d, "stream", now); len(sets) != 1 || more {
			t.Fatalf("the second part has %v, more: %t", jtis(sets), more)
		}
		poll(d, "stream", ack(sets))

		// A poll that waits reads on at once.
		fill(d, window+1000)
		d.SignIn("carol")
		d.Clock.Advance(2 * models.LateCommit)
		if sets := setsOf(d, send(d, http.MethodPost, "/ssf/poll/stream", "{}", asReceiver())); len(sets) != 1 {
			t.Errorf("a poll that waits returned %v", jtis(sets))
		}
	})
}

func TestAnAnswerToAPollHas100TokensUnlessItAsksForMore(t *testing.T) {
	t.Parallel()
	d := transmitter(t, testdb.SQLite(t), polled("stream"))
	signIns(d, 101)
	if sets, more := poll(d, "stream", now); len(sets) != 100 || !more {
		t.Errorf("%d tokens, more: %t", len(sets), more)
	}
	if sets, more := poll(d, "stream", `{"maxEvents":101,"returnImmediately":true}`); len(sets) != 101 || more {
		t.Errorf("%d tokens, more: %t", len(sets), more)
	}
}
