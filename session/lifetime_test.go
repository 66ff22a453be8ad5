package session_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/session"
)

func TestEnded(t *testing.T) {
	type life = session.Lifetime
	for name, c := range map[string]struct {
		life life
		at   time.Time // zero: it is live
		why  session.EndReason
	}{
		"is live one nanosecond before the absolute end":  {life{AbsoluteExpiry: in(1)}, time.Time{}, ""},
		"has ended exactly at the absolute end":           {life{AbsoluteExpiry: noon}, noon, session.Absolute},
		"has ended after the absolute end":                {life{AbsoluteExpiry: ago(time.Hour)}, ago(time.Hour), session.Absolute},
		"is live one nanosecond before the idle end":      {life{AbsoluteExpiry: in(time.Hour), IdleExpiry: in(1)}, time.Time{}, ""},
		"has ended exactly at the idle end":               {life{AbsoluteExpiry: in(time.Hour), IdleExpiry: noon}, noon, session.Idle},
		"ended idle before its absolute end":              {life{AbsoluteExpiry: ago(1), IdleExpiry: ago(2)}, ago(2), session.Idle},
		"does not end idle after its absolute end":        {life{AbsoluteExpiry: ago(2), IdleExpiry: ago(1)}, ago(2), session.Absolute},
		"ended at its absolute end if both ends coincide": {life{AbsoluteExpiry: noon, IdleExpiry: noon}, noon, session.Absolute},
		"ignores an idle end after the absolute end":      {life{AbsoluteExpiry: in(1), IdleExpiry: in(2)}, time.Time{}, ""},
		"was ended explicitly": {life{AbsoluteExpiry: in(time.Hour), EndedAt: ago(1), EndReason: session.Revoked},
			ago(1), session.Revoked},
		"was ended explicitly before its limits": {life{AbsoluteExpiry: ago(1), IdleExpiry: ago(2), EndedAt: ago(3), EndReason: session.SignedOut},
			ago(3), session.SignedOut},
		"was ended explicitly after its limits": {life{AbsoluteExpiry: ago(3), EndedAt: ago(1), EndReason: session.ReuseDetected},
			ago(1), session.ReuseDetected},
		"has ended although the time of its end is in the future": {life{AbsoluteExpiry: in(time.Hour), EndedAt: in(1), EndReason: session.Evicted},
			in(1), session.Evicted},
	} {
		t.Run(name, func(t *testing.T) {
			at, why, ended := c.life.Ended(noon)
			if ended != !c.at.IsZero() || !at.Equal(c.at) || why != c.why {
				t.Errorf("ended %v at %v, %q; want %v, %q", ended, at, why, c.at, c.why)
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	for name, c := range map[string]struct {
		life session.Lifetime
		want time.Time
	}{
		"is the absolute end without an idle limit": {session.Lifetime{AbsoluteExpiry: in(2)}, in(2)},
		"is the idle end if that comes first":       {session.Lifetime{AbsoluteExpiry: in(2), IdleExpiry: in(1)}, in(1)},
		"is the absolute end if that comes first":   {session.Lifetime{AbsoluteExpiry: in(1), IdleExpiry: in(2)}, in(1)},
		"ignores an explicit end":                   {session.Lifetime{AbsoluteExpiry: in(1), EndedAt: ago(1)}, in(1)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.life.Expiry(); !got.Equal(c.want) {
				t.Errorf("expires at %v, want %v", got, c.want)
			}
		})
	}
}

func TestExtended(t *testing.T) {
	created := session.Lifetime{CreatedAt: ago(time.Hour), AbsoluteExpiry: in(time.Hour)}
	for name, c := range map[string]struct {
		by, most time.Duration
		want     time.Time // zero: it is not possible
	}{
		"counts from now":                                        {2 * time.Hour, 24 * time.Hour, in(2 * time.Hour)},
		"may be earlier than the current end":                    {time.Minute, 24 * time.Hour, in(time.Minute)},
		"may reach the maximum lifetime":                         {2 * time.Hour, 3 * time.Hour, in(2 * time.Hour)},
		"does not exceed the maximum lifetime":                   {2*time.Hour + 1, 3 * time.Hour, in(2 * time.Hour)},
		"counts the maximum lifetime from the creation":          {1 << 62, 2 * time.Hour, in(time.Hour)},
		"is possible one nanosecond before the maximum lifetime": {time.Hour, time.Hour + 1, in(1)},
		"is not possible at the maximum lifetime":                {time.Hour, time.Hour, time.Time{}},
		"is not possible after the maximum lifetime":             {time.Hour, time.Minute, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			end, ok := created.Extended(noon, c.by, c.most)
			if ok != !c.want.IsZero() || ok && !end.Equal(c.want) {
				t.Errorf("%v, %t; want %v", end, ok, c.want)
			}
		})
	}
}
