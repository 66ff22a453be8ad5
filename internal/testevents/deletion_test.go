package testevents

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/delivery"
)

func TestWhatIsStillToBeDeliveredDoesNotNameADeletedUser(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		r.set(func(received) int { return http.StatusBadGateway })
		d := deployed(t, url, r.webhook("hooks"), r.webhook("sign-ins", only("session.created")), r.webhook("keys", only("key.")))
		// Some of these events have been attempted when the receiver counts as away, and
		// others not.
		for range 10 {
			d.SignIn("alice")
			d.Clock.Advance(time.Millisecond)
		}
		r.until(t, "attempts", func(all []received) bool { return len(all) >= 8 })
		done, err := d.Store.DeleteUser(t.Context(), "default", "alice", models.Actor{Name: "test", Role: models.RoleMachine})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(done.Receivers, " "); got != "hooks sign-ins" {
			t.Errorf("receivers that may know the user: %s", got)
		}
		d.Clock.Advance(61 * time.Minute)
		if err := d.Store.FinishDeletions(t.Context()); err != nil {
			t.Fatal(err)
		}
		// What the node has read shortly before, and the attempts that have begun, may name
		// the user.
		d.Clock.Advance(6 * time.Second)
		until(t, "no attempt has begun before", func() bool {
			return !slices.ContainsFunc(d.OAuth.Deliverer().Statuses(), func(s delivery.Status) bool { return s.InFlight > 0 })
		})
		before := len(r.all())
		r.set(nil)
		stop := moveTime(d)
		defer stop()
		r.until(t, "the sign-ins at both destinations, and the ends", func([]received) bool {
			created, ended := 0, 0
			for _, got := range r.accepted() {
				switch got.Type {
				case "session.created":
					created++
				case "session.ended.revoked_by_backend":
					ended++
				}
			}
			return created >= 20 && ended >= 10
		})
		for _, got := range r.all()[before:] {
			if strings.HasPrefix(got.Type, "session.") && got.Data.User != done.Pseudonym || strings.Contains(got.Body, "alice") {
				t.Errorf("delivered after the deletion: %s", got.Body)
			}
		}
	})
}
