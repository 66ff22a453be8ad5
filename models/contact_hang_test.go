package models

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// observed is a Store without a database; the test invents its operations.
type observed struct {
	*Store
	t      *testing.T
	now    time.Time
	log    strings.Builder
	before time.Time
}

func newObserved(t *testing.T) *observed {
	o := &observed{Store: &Store{}, t: t, now: time.Unix(1_000_000, 0)}
	o.clock.now = func() time.Time { return o.now }
	o.Store.log = slog.New(slog.NewTextHandler(&o.log, nil))
	o.ended(reading, time.Millisecond, nil)
	o.before = o.ContactSince()
	o.now = o.now.Add(time.Minute)
	return o
}

// ended reports the end of an operation that began the given time ago.
func (o *observed) ended(kind accessKind, took time.Duration, err error) {
	_ = o.observe(o.t.Context(), kind, o.now.Add(-took), err)
}

// gaveUp reports the end of n operations that their callers canceled.
func (o *observed) gaveUp(n int, took time.Duration) {
	gone, cancel := context.WithCancel(o.t.Context())
	cancel()
	for range n {
		_ = o.observe(gone, writing, o.now.Add(-took), fmt.Errorf("%w: %w", ErrUnavailable, context.Canceled))
	}
}

// lost reports whether contact restarts with the next success.
func (o *observed) lost() bool {
	o.now = o.now.Add(time.Minute)
	o.ended(writing, 0, nil)
	return o.ContactSince().After(o.before)
}

var errAway = fmt.Errorf("%w: connection refused", ErrUnavailable)

func TestContactIsLostOnlyAfterConsecutiveFailures(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(o *observed)
		lost    bool
	}{
		"a thousand callers who gave up at once": {func(o *observed) { o.gaveUp(1000, 0) }, false},
		"a thousand who gave up after 1.1 s":     {func(o *observed) { o.gaveUp(1000, 1100*time.Millisecond) }, false},
		"a thousand who gave up after an hour":   {func(o *observed) { o.gaveUp(1000, time.Hour) }, false},
		"one failure":                            {func(o *observed) { o.ended(writing, 0, errAway) }, false},
		"as many failures as an outage has":      {func(o *observed) { fails(o, writing, outage) }, true},
		"one less":                               {func(o *observed) { fails(o, writing, outage-1) }, false},
		"reads that fail":                        {func(o *observed) { fails(o, reading, outage) }, true},
		"callers who gave up between two failures": {func(o *observed) {
			fails(o, writing, outage-1)
			o.gaveUp(1000, time.Minute)
		}, false},
		"a success between the failures": {func(o *observed) {
			fails(o, writing, outage-1)
			o.ended(writing, 0, nil)
			fails(o, writing, outage-1)
		}, false},
		"a rejection by the data between the failures": {func(o *observed) {
			fails(o, writing, outage-1)
			o.ended(writing, 0, ErrNotFound)
			fails(o, writing, outage-1)
		}, false},
		"writes that hang while reads succeed": {func(o *observed) {
			for range outage {
				o.ended(writing, 5*time.Second, errAway)
				o.ended(reading, 0, nil)
			}
		}, true},
		"operations that waited too long behind others that succeeded": {func(o *observed) {
			o.ended(writing, 5*time.Second, nil)
			o.now = o.now.Add(time.Millisecond)
			for range 1000 {
				o.ended(writing, 5*time.Second, errAway)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := newObserved(t)
			c.happens(o)
			said := o.log.String()
			if lost := o.lost(); lost != c.lost {
				t.Errorf("contact was lost: %t, want %t", lost, c.lost)
			}
			if logged := strings.Contains(said, "is lost"); logged != c.lost {
				t.Errorf("the log reports it: %t, want %t:\n%s", logged, c.lost, said)
			}
			if logged := strings.Contains(o.log.String(), "responds again"); logged != c.lost {
				t.Errorf("the log reports the end: %t, want %t:\n%s", logged, c.lost, o.log.String())
			}
		})
	}
}

func fails(o *observed, kind accessKind, times int) {
	for range times {
		o.ended(kind, time.Millisecond, errAway)
	}
}

// Reads that succeed do not end an outage of writes.
func TestContactReturnsWithTheKindOfOperationThatFailed(t *testing.T) {
	o := newObserved(t)
	fails(o, writing, outage)
	o.ended(reading, 0, nil)
	if !o.ContactSince().Equal(o.before) {
		t.Error("a read ended an outage of writes")
	}
	if !o.lost() {
		t.Error("a write did not end it")
	}
	again := o.ContactSince()
	o.now = o.now.Add(time.Minute)
	o.ended(writing, 0, errors.New("no signer"))
	if !o.ContactSince().Equal(again) {
		t.Error("contact begins with every answer")
	}
}
