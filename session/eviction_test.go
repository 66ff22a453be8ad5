package session_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/session"
)

// active is a session that was created and last used so many minutes ago.
func active(id string, created, used int) session.Active {
	minutes := func(n int) time.Time { return ago(time.Duration(n) * time.Minute) }
	return session.Active{ID: id, CreatedAt: minutes(created), LastActiveAt: minutes(used)}
}

func TestEvict(t *testing.T) {
	three := []session.Active{active("young", 1, 1), active("old", 10, 2), active("middle", 9, 9)}
	for name, c := range map[string]struct {
		active []session.Active
		limit  int
		want   []string
	}{
		"nothing without a session":                       {nil, 1, nil},
		"nothing below the limit":                         {three, 4, nil},
		"the oldest at the limit although it is in use":   {three, 3, []string{"old"}},
		"several above a lowered limit":                   {three, 2, []string{"old", "middle"}},
		"all with a limit of one":                         {three, 1, []string{"old", "middle", "young"}},
		"nothing without a limit":                         {three, 0, nil},
		"nothing with a negative limit":                   {three, -1, nil},
		"the less recently used of two with the same age": {[]session.Active{active("used", 4, 1), active("idle", 4, 3)}, 2, []string{"idle"}},
		"the first of two equal sessions":                 {[]session.Active{active("a", 1, 1), active("b", 1, 1)}, 2, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := session.Evict(c.active, c.limit); !slices.Equal(got, c.want) {
				t.Errorf("evicted %q, want %q", got, c.want)
			}
		})
	}
}

func TestEvictMakesRoomForExactlyOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sessions []session.Active
		for i := range rapid.IntRange(0, 8).Draw(t, "sessions") {
			sessions = append(sessions, active(fmt.Sprint(i), rapid.IntRange(0, 3).Draw(t, "created"), rapid.IntRange(0, 3).Draw(t, "used")))
		}
		limit := rapid.IntRange(1, 8).Draw(t, "limit")
		before := slices.Clone(sessions)
		evicted := session.Evict(sessions, limit)
		if !slices.Equal(sessions, before) {
			t.Fatal("Evict changed the order of its argument")
		}
		if left := len(sessions) - len(evicted); left > limit-1 || len(evicted) > 0 && left != limit-1 {
			t.Fatalf("%d of %d are left, at a limit of %d", left, len(sessions), limit)
		}
		for _, gone := range sessions {
			for _, kept := range sessions {
				if slices.Contains(evicted, gone.ID) && !slices.Contains(evicted, kept.ID) && kept.CreatedAt.Before(gone.CreatedAt) {
					t.Fatalf("%s went before %s, which is older", gone.ID, kept.ID)
				}
			}
		}
	})
}
