package testevents

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// eachEngine runs a test on both engines, in parallel.
func eachEngine(t *testing.T, test func(t *testing.T, url string)) {
	t.Parallel()
	testdb.Each(t, test)
}

// signIns signs in users with different names, and returns them.
func signIns(d *testserver.Deployment, n int) (users []string) {
	for i := range n {
		user := fmt.Sprintf("user-%d", i)
		d.SignIn(user)
		d.Clock.Advance(time.Millisecond)
		users = append(users, user)
	}
	return users
}

// wantEach requires that each user's session was accepted, with one id in every
// repetition.
func wantEach(t *testing.T, r *receiver, users []string) {
	t.Helper()
	ids := map[string]map[string]bool{}
	for _, got := range r.all() {
		if got.Verified != nil {
			t.Errorf("%s: %v", got.Body, got.Verified)
		}
		if ids[got.Data.User] == nil {
			ids[got.Data.User] = map[string]bool{}
		}
		ids[got.Data.User][got.ID] = true
	}
	for _, user := range users {
		if len(ids[user]) != 1 {
			t.Errorf("%s was told of with %d ids", user, len(ids[user]))
		}
	}
}

func delivered(r *receiver, users []string) func([]received) bool {
	return func([]received) bool {
		seen := map[string]bool{}
		for _, got := range r.accepted() {
			seen[got.Data.User] = true
		}
		return !slices.ContainsFunc(users, func(u string) bool { return !seen[u] })
	}
}

func TestAReceiverThatIsAwayGetsEverythingWhenItIsBack(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		r.set(func(received) int { return http.StatusBadGateway })
		other := newReceiver(t)
		d := deployed(t, url, r.webhook("hooks", only("session.created")), other.webhook("other", only("session.created")))
		users := signIns(d, 60)
		r.until(t, "attempts", func(all []received) bool { return len(all) >= 5 })
		// A receiver that is away gets one event at a time. Four have failed before it counts
		// as away, and 32 may be in flight.
		for i, user := range []string{"before", "after"} { // the node has begun what it could
			d.SignIn(user)
			other.until(t, user, other.count(len(users)+i+1))
		}
		if n := len(r.all()); n > 36 {
			t.Errorf("%d attempts", n)
		}
		r.set(nil)
		stop := moveTime(d)
		defer stop()
		r.until(t, "all of them", delivered(r, users))
		wantEach(t, r, users)
	})
}

// moveTime advances the clock of a deployment again and again, so that attempts become
// due. It is slow enough for a busy node to renew its lease, and stands still while the
// node delivers to nobody.
func moveTime(d *testserver.Deployment) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
				if len(d.OAuth.Deliverer().Statuses()) > 0 { // it has not lost its lease
					d.Clock.Advance(time.Second)
				}
			}
		}
	}()
	return func() { close(done); <-stopped }
}

func TestAPoisonedEventIsParkedAndHoldsUpItsSessionOnly(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		r.set(func(got received) int {
			if got.Data.User == "poison" {
				return http.StatusInternalServerError
			}
			return http.StatusNoContent
		})
		d := deployed(t, url, r.webhook("hooks", only("session.")))
		in := d.SignIn("poison")
		d.Clock.Advance(time.Millisecond)
		d.Post("/revoke", []string{"client_id", "web", "token", in.Text("refresh_token")})
		d.Clock.Advance(time.Millisecond)
		users := signIns(d, 5)
		r.until(t, "the others", delivered(r, users))
		stop := moveTime(d)
		key := models.DestinationKey{Tenant: "default", ID: "hooks"}
		var parked []models.Delivery
		for deadline := time.Now().Add(waitTimeout); len(parked) < 2; time.Sleep(20 * time.Millisecond) {
			var err error
			if parked, err = d.Store.Deliveries(t.Context(), key, false, models.EventID{}, 10); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(deadline) {
				t.Fatalf("parked: %+v", parked)
			}
		}
		stop()
		if parked[0].Status != 500 || parked[0].Attempts == 0 || parked[1].Attempts != 0 {
			t.Errorf("parked: %+v", parked)
		}
		r.set(nil)
		stop = moveTime(d)
		defer stop()
		r.until(t, "the poisoned session", func([]received) bool {
			var of []received
			for _, got := range r.accepted() {
				if got.Data.User == "poison" {
					of = append(of, got)
				}
			}
			return len(of) == 2 && of[0].Type == "session.created" && of[1].Type == "session.ended.signed_out"
		})
		for deadline := time.Now().Add(waitTimeout); ; time.Sleep(20 * time.Millisecond) {
			waiting, dead, err := d.Store.CountDeliveries(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if waiting == 0 && dead == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d wait and %d are given up after everything was accepted", waiting, dead)
			}
		}
	})
}

func TestAnEventThatIsGivenUpIsCounted(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		r.set(func(received) int { return http.StatusInternalServerError })
		d := deployed(t, url, r.webhook("hooks", only("session.created")))
		d.SignIn("alice")
		stop := moveTime(d)
		r.until(t, "three attempts", func(all []received) bool { return len(all) >= 3 })
		stop()
		if counts := d.OAuth.Deliverer().Counts(); counts.Dead != 0 || counts.Failed == 0 {
			t.Errorf("after the first attempts: %+v", counts)
		}
		d.Clock.Advance(73 * time.Hour)
		until(t, "the event is given up", func() bool { return d.OAuth.Deliverer().Counts().Dead == 1 })
		until(t, "that is stored", func() bool {
			_, dead, err := d.Store.CountDeliveries(t.Context(), models.DestinationKey{Tenant: "default", ID: "hooks"})
			return err == nil && dead == 1
		})
	})
}

// goneReceiver returns a receiver that has answered 410, so that its destination is
// disabled.
func goneReceiver(t *testing.T, url string, others ...settings.DestinationSpec) (*receiver, *testserver.Deployment) {
	r := newReceiver(t)
	r.set(func(received) int { return http.StatusGone })
	d := deployed(t, url, append(others, r.webhook("hooks", only("session.created")))...)
	d.SignIn("alice")
	until(t, "the destination is disabled", func() bool {
		stored, err := d.Store.StoredDestination(t.Context(), "default", "hooks")
		return err == nil && !stored.Row.DisabledAt.IsZero()
	})
	return r, d
}

func TestAReceiverThatAnswers410GetsNoMore(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		other := newReceiver(t)
		r, d := goneReceiver(t, url, other.webhook("other", only("session.created")))
		untilLeft(d, "hooks")
		before := len(r.all())
		users := signIns(d, 3)
		other.until(t, "the events at another receiver", delivered(other, users))
		if len(r.all()) != before {
			t.Error("a disabled destination got events")
		}
		r.set(nil)
		if err := d.Store.EnableDestination(t.Context(), "default", "hooks", models.Actor{Name: "test"}); err != nil {
			t.Fatal(err)
		}
		r.until(t, "everything, when it is enabled", delivered(r, append(users, "alice")))
	})
}

func TestADestinationThatIsEnabledAtOnceGetsItsEvents(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		r, d := goneReceiver(t, url)
		r.set(nil)
		// Before the node reads the destinations again:
		if err := d.Store.EnableDestination(t.Context(), "default", "hooks", models.Actor{Name: "test"}); err != nil {
			t.Fatal(err)
		}
		stop := moveTime(d)
		defer stop()
		r.until(t, "the event", delivered(r, []string{"alice"}))
	})
}

// until waits until a condition holds.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, waitTimeout)
		}
	}
}

func TestRedirectsAreNotFollowedAndPrivateAnswersNotKept(t *testing.T) {
	t.Parallel()
	var followed atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(elsewhere.Close)
	r := newReceiver(t)
	r.header.Set("Location", elsewhere.URL)
	r.body = "a secret of the network inside"
	r.set(func(received) int { return http.StatusTemporaryRedirect })
	d := deployed(t, testdb.SQLite(t), r.webhook("hooks", only("session.created")))
	d.SignIn("alice")
	var state *models.DeliveryState
	until(t, "an attempt is stored", func() bool {
		var err error
		state, err = d.Store.DeliveryState(t.Context(), models.DestinationKey{Tenant: "default", ID: "hooks"})
		return err == nil && len(state.Recent) > 0
	})
	if got := state.Recent[0]; got.Status != 307 || got.Answer != "" || !strings.Contains(got.Error, "redirects are not followed") {
		t.Errorf("the attempt: %+v", got)
	}
	if followed.Load() > 0 {
		t.Error("the redirect was followed")
	}
	text, err := json.Marshal(state)
	if err != nil || strings.Contains(string(text), "network inside") || strings.Contains(d.Log.String(), "network inside") {
		t.Errorf("the answer of a private address is kept: %s", text)
	}
}

// What is not HTTP is not shown either: net/http quotes it in its errors.
func TestTheBannerOfAPrivateServiceIsNotShown(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "SSH-2.0-inside\r\n")
			conn.Close()
		}
	}()
	r := newReceiver(t)
	d := deployed(t, testdb.SQLite(t), r.webhook("hooks", only("session.created"), func(d *settings.DestinationSpec) {
		d.URL = "http://" + listener.Addr().String()
	}))
	d.SignIn("alice")
	var state *models.DeliveryState
	until(t, "an attempt is stored", func() bool {
		var err error
		state, err = d.Store.DeliveryState(t.Context(), models.DestinationKey{Tenant: "default", ID: "hooks"})
		return err == nil && state.LastError != ""
	})
	if text, err := json.Marshal(state); err != nil || strings.Contains(string(text), "SSH") || strings.Contains(d.Log.String(), "SSH-2.0") {
		t.Errorf("the banner is kept: %s", text)
	}
}

func TestAPrivateAddressIsRefusedWithoutTheSwitch(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	tls := httptest.NewTLSServer(r)
	t.Cleanup(tls.Close)
	d := deployed(t, testdb.SQLite(t), r.webhook("hooks", only("session.created"), func(d *settings.DestinationSpec) {
		d.AllowPrivateAddresses, d.URL = false, tls.URL
	}))
	d.SignIn("alice")
	until(t, "an attempt is stored", func() bool {
		state, err := d.Store.DeliveryState(t.Context(), models.DestinationKey{Tenant: "default", ID: "hooks"})
		return err == nil && len(state.Recent) > 0 && strings.Contains(state.LastError, "the address is private")
	})
	if got := r.all(); len(got) > 0 {
		t.Errorf("received %v", types(got))
	}
}

func TestOneHangingReceiverDelaysNoOther(t *testing.T) {
	t.Parallel()
	const others = 199
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hanging.CloseClientConnections)
	r := newReceiver(t)
	destinations := []settings.DestinationSpec{r.webhook("hanging", only("session.created"), func(d *settings.DestinationSpec) { d.URL = hanging.URL })}
	for i := range others {
		destinations = append(destinations, r.webhook(fmt.Sprintf("hooks-%d", i), only("session.created")))
	}
	d := deployed(t, testdb.SQLite(t), destinations...)
	d.SignIn("first")
	r.until(t, "the first event at every other receiver", r.count(others))
	d.SignIn("second")
	r.until(t, "the second event at every other receiver", r.count(2*others))
}

func TestBothSecretsSignWhileOneReplacesTheOther(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		d := deployed(t, url, r.webhook("hooks", only("session.created")))
		old := r.Secret
		changed := newSecret()
		if err := d.Store.ReplaceDestinationSecret(t.Context(), d.Keys, "default", "hooks", changed, time.Hour, models.Actor{Name: "test"}); err != nil {
			t.Fatal(err)
		}
		for i := 0; ; i++ { // until the node has read the change
			user := fmt.Sprintf("user-%d", i)
			d.SignIn(user)
			r.until(t, user, delivered(r, []string{user}))
			if all := r.all(); all[len(all)-1].Signatures == 2 {
				break
			}
		}
		r.mu.Lock()
		r.Secret = changed
		r.mu.Unlock()
		d.SignIn("bob")
		r.until(t, "bob", delivered(r, []string{"bob"}))
		d.Clock.Advance(2 * time.Hour)
		d.SignIn("carol")
		r.until(t, "carol", delivered(r, []string{"carol"}))
		r.mu.Lock()
		r.Secret = old
		r.mu.Unlock()
		d.SignIn("dave")
		r.until(t, "dave", delivered(r, []string{"dave"}))
		for _, got := range r.all() {
			if failed := got.Verified != nil; failed != (got.Data.User == "dave") {
				t.Errorf("%s: %v", got.Data.User, got.Verified)
			}
		}
	})
}

func TestRedeliveringSendsAgainWithTheSameID(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		d := deployed(t, url, r.webhook("hooks", only("session.created")))
		users := signIns(d, 3)
		r.until(t, "three", r.count(3))
		key := models.DestinationKey{Tenant: "default", ID: "hooks"}
		if err := d.Store.RedeliverSince(t.Context(), key, d.Clock.Now().Add(-time.Hour), models.Actor{Name: "test"}); err != nil {
			t.Fatal(err)
		}
		r.until(t, "the same three again", r.count(6))
		wantEach(t, r, users)
	})
}

func TestTheEndOfEverySessionOfAUserNamesTheUserOnly(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		d := deployed(t, url, r.webhook("hooks", only("session.ended.")))
		d.SignIn("alice")
		_, err := d.Store.Suspend(t.Context(), d.Keys, models.Ref{Kind: models.KindUser, Tenant: "default", ID: "alice"}, models.Actor{Name: "test", Role: models.RoleMachine}, "an exercise")
		if err != nil {
			t.Fatal(err)
		}
		got := r.until(t, "the end", r.count(1))[0]
		if got.Type != "session.ended.user_disabled" || got.Data.User != "alice" || got.Data.Session != "" {
			t.Errorf("received %s", got.Body)
		}
	})
}

// The clock of the test stands still, so that the lease of a node that keeps it never
// expires.
func TestANodeThatStopsHandsOver(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: url})
		nodes := []*testserver.Deployment{d, d.OtherNode()}
		r := newReceiver(t)
		configure(d, r.webhook("hooks", only("session.created")))
		deliver := func(node *testserver.Deployment, user string) {
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan struct{})
			go func() { node.OAuth.Run(ctx); close(over) }()
			defer func() { cancel(); <-over }()
			d.SignIn(user)
			d.Clock.Advance(time.Millisecond)
			r.until(t, "the session of "+user, delivered(r, []string{user}))
			untilDone(node, "hooks")
		}
		deliver(nodes[0], "alice")
		deliver(nodes[1], "bob")
		deliver(nodes[0], "carol")
		if n := len(r.all()); n != 3 {
			t.Errorf("%d webhooks for 3 events: a node repeats what the other has delivered", n)
		}
	})
}
