package keys

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
)

// epoch is when the first key of these tests activates.
var epoch = time.Unix(1_790_000_000, 0).UTC()

// keyRows returns keys that activate at the given times after epoch; a second time
// is when the key is retired by hand.
func keyRows(moments ...[]time.Duration) []models.SigningKey {
	var rows []models.SigningKey
	for i, m := range moments {
		row := models.SigningKey{Kid: fmt.Sprint(i), ActivatesAt: models.At(epoch.Add(m[0]))}
		if len(m) > 1 {
			row.RetiredAt = models.At(epoch.Add(m[1]))
		}
		rows = append(rows, row)
	}
	return rows
}

func TestKeyStates(t *testing.T) {
	const day, hour, tick = 24 * time.Hour, time.Hour, time.Microsecond
	const last = day + 30*time.Second // how long a replaced key verifies: the longest access token and the leeway
	at := func(d ...time.Duration) []time.Duration { return d }
	for _, row := range []struct {
		name string
		keys []models.SigningKey
		now  time.Duration
		want string
	}{
		{"no key has no state", nil, 0, ""},
		{"a key is announced before it activates", keyRows(at(hour)), hour - tick, "announced"},
		{"a key signs from the moment it activates", keyRows(at(hour)), hour, "active"},
		{"a single key signs forever", keyRows(at(0)), 1000 * day, "active"},
		{"an announced key leaves the one before it active", keyRows(at(0), at(hour)), hour - tick, "active announced"},
		{"a key that is replaced continues to verify", keyRows(at(0), at(hour)), hour, "verify-only active"},
		{"it verifies until its last token has expired", keyRows(at(0), at(hour)), hour + last - tick, "verify-only active"},
		{"it does not verify after its last token has expired", keyRows(at(0), at(hour)), hour + last, "retired active"},
		{"how long it verifies counts from its own successor", keyRows(at(0), at(hour), at(day)), hour + last, "retired verify-only active"},
		{"a key that was retired by hand is out of service at once", keyRows(at(0, hour), at(0)), hour, "retired active"},
		{"it is in service until then", keyRows(at(0), at(0, hour)), hour - tick, "verify-only active"},
		{"an announced key may be retired before it ever signs", keyRows(at(0), at(day, hour)), 2 * day, "active retired"},
		{"when the active key is retired by hand the one before it signs again", keyRows(at(0), at(hour, 2*hour)), 2 * hour, "active retired"},
		{"even if that one no longer verified", keyRows(at(0), at(hour, 3*day)), 3 * day, "active retired"},
		{"the one before that still counts from its own successor", keyRows(at(0), at(hour), at(day, day+hour)), day + hour, "verify-only active retired"},
		{"a retired key in between does not count as a successor", keyRows(at(0), at(hour, 2*hour), at(3*hour)), 2*hour + last, "verify-only retired active"},
		{"no key signs if every key is retired", keyRows(at(0, hour), at(0, hour)), hour, "retired retired"},
		{"no key signs if every key is announced", keyRows(at(hour), at(2*hour)), 0, "announced announced"},
		{"of two keys that activate together the last one signs", keyRows(at(0), at(0)), 0, "verify-only active"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got []string
			for _, state := range States(row.keys, epoch.Add(row.now)) {
				got = append(got, string(state))
			}
			if text := strings.Join(got, " "); text != row.want {
				t.Errorf("%s, want %s", text, row.want)
			}
		})
	}
}

func TestExactlyOneKeyIsActiveIfAnyCanBe(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	hours := func(most int) time.Duration { return time.Duration(chance.IntN(most)) * time.Hour }
	for range 2000 {
		var moments [][]time.Duration
		for range chance.IntN(6) {
			m := []time.Duration{hours(72)}
			if chance.IntN(3) == 0 {
				m = append(m, hours(96))
			}
			moments = append(moments, m)
		}
		slices.SortFunc(moments, func(a, b []time.Duration) int { return int(a[0] - b[0]) })
		keys := keyRows(moments...)
		for now := range 120 {
			at := epoch.Add(time.Duration(now) * time.Hour)
			active, could := 0, 0
			for i, state := range States(keys, at) {
				if state == Active {
					active++
				}
				retired := !keys[i].RetiredAt.IsZero() && !at.Before(keys[i].RetiredAt.Time)
				if !retired && !at.Before(keys[i].ActivatesAt.Time) {
					could = 1
				}
				if retired && state != Retired {
					t.Fatalf("a retired key is %s: %v at %d h", state, moments, now)
				}
			}
			if active != could {
				t.Fatalf("%d keys are active at %d h: %v", active, now, moments)
			}
		}
	}
}

func TestNoKidBeginsWithAHyphen(t *testing.T) {
	for range 500 { // one thumbprint in 64 begins with a hyphen
		if _, kid, err := generateNamedKey("Ed25519"); err != nil || kid[0] == '-' {
			t.Fatal(kid, err)
		}
	}
}
