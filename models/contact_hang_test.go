package models

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A client that gives up on a database that hangs is all that a node may see
// of an outage.
func TestAnOperationThatHungUntilItsCallerGaveUpIsLostContact(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		took time.Duration
		err  error
		lost bool
	}{
		"gave up at once":         {hang - time.Nanosecond, context.Canceled, false},
		"gave up after a while":   {hang, context.Canceled, true},
		"was answered after all":  {time.Hour, nil, false},
		"was refused by the data": {hang - time.Nanosecond, errors.New("x"), false},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1_000_000, 0)
			s := &Store{}
			s.clock.now = func() time.Time { return now }
			_ = s.observe(context.Background(), now, nil)
			before := s.ContactSince()
			begun := now
			now = now.Add(c.took)
			_ = s.observe(gone, begun, c.err)
			now = now.Add(time.Minute)
			_ = s.observe(context.Background(), now, nil)
			if lost := s.ContactSince().After(before); lost != c.lost {
				t.Errorf("contact was lost: %t, want %t", lost, c.lost)
			}
		})
	}
}
