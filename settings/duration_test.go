package settings_test

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "5m": 5 * time.Minute, "720h": 720 * time.Hour, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "0s": 0, "0": 0,
		"30d": 30 * day, "0d": 0, "1d12h": 36 * time.Hour, "1d0h30m": day + 30*time.Minute, "65535d": 65535 * day,
		"none": session.NoIdleTimeout,
	} {
		t.Run(text, func(t *testing.T) {
			if got, err := settings.ParseDuration(text); got.Std() != want || err != nil {
				t.Errorf("is %v, %v; want %v", got.Std(), err, want)
			}
		})
	}
	for _, text := range []string{
		"", " ", "5", "5 m", "m", "-1ns", "-5m", "d", "1.5d", "-1d", "+1d", "1d-1h", "1d1d", "d1h", "1h1d", "1D", "None", "65536d", "99999999999d",
		"2562048h", "1000d2500000h", "1dnone", "5m\n", "１d", "1e3s", "0x1d",
	} {
		t.Run("rejects "+text, func(t *testing.T) {
			if got, err := settings.ParseDuration(text); err == nil || got != 0 {
				t.Errorf("is %v, %v", got.Std(), err)
			}
		})
	}
}

func TestDurationString(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "10s": 10 * time.Second, "10m": 10 * time.Minute, "1h": time.Hour, "10h": 10 * time.Hour, "1h10m": 70 * time.Minute,
		"1h0m10s": time.Hour + 10*time.Second, "10m10s": 610 * time.Second, "1d": 24 * time.Hour, "30d": 720 * time.Hour, "36h": 36 * time.Hour,
		"1.5s": 1500 * time.Millisecond, "none": session.NoIdleTimeout,
	} {
		if got := settings.Duration(d).String(); got != want {
			t.Errorf("%v prints as %q, want %q", d, got, want)
		}
	}
}

func TestDurationStringRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]time.Duration{1, time.Millisecond, time.Second, time.Minute, time.Hour}).Draw(t, "unit")
		d := settings.Duration(time.Duration(rapid.Int64Range(0, 1_000_000).Draw(t, "count")) * unit)
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var back settings.Duration
		if err := json.Unmarshal(text, &back); err != nil || back != d {
			t.Fatalf("%s reads back as %v, %v", text, back, err)
		}
	})
}
