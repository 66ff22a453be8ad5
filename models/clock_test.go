package models_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
)

// Nodes whose clocks differ agree about sessions: all take the database's.
func TestStoreTimeIsTheDatabases(t *testing.T) {
	url := testdb.Postgres(t)
	for name, wrong := range map[string]time.Duration{"fast": time.Hour, "slow": -time.Hour, "right": 0} {
		t.Run(name, func(t *testing.T) {
			store := open(t, url, models.Options{Clock: func() time.Time { return time.Now().Add(wrong) }})
			check := func() {
				t.Helper()
				if off := time.Until(store.Now()); off.Abs() > 2*time.Second {
					t.Errorf("store time is off by %v", off)
				}
				if off := store.ClockOffset() + wrong; off.Abs() > 2*time.Second {
					t.Errorf("the offset is %v", store.ClockOffset())
				}
			}
			check() // measured with the first connection
			must(t, store.MeasureClock(t.Context()))
			check()
		})
	}
}

func TestStoreTimeFollowsAClockThatJumps(t *testing.T) {
	var jump time.Duration
	store := open(t, testdb.Postgres(t), models.Options{Clock: func() time.Time { return time.Now().Add(jump) }})
	jump = 24 * time.Hour
	must(t, store.MeasureClock(t.Context()))
	if off := time.Until(store.Now()); off.Abs() > 2*time.Second {
		t.Errorf("store time is off by %v", off)
	}
}

func TestATrustedClockIsNotCorrected(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		store := open(t, url, models.Options{Clock: func() time.Time { return start }, TrustClock: true})
		if now := store.Now(); !now.Equal(start) || store.ClockOffset() != 0 {
			t.Errorf("store time is %v, at an offset of %v", now, store.ClockOffset())
		}
	})
}

// SQLite is on the node's own machine.
func TestSQLiteHasTheNodesClock(t *testing.T) {
	store := open(t, testdb.SQLite(t), models.Options{Clock: func() time.Time { return start }})
	must(t, store.MeasureClock(t.Context()))
	if now := store.Now(); !now.Equal(start) {
		t.Errorf("store time is %v", now)
	}
}
