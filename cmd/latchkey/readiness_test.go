package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestReadinessIsCheckedAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int32
		var verdict error
		r := &readiness{check: func(context.Context) error {
			looks.Add(1)
			return verdict
		}}
		askers := func() {
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if err := r.result(t.Context()); err != verdict {
						t.Errorf("told %v, want %v", err, verdict)
					}
				})
			}
			all.Wait()
		}
		askers()
		time.Sleep(900 * time.Millisecond)
		askers()
		if n := looks.Load(); n != 1 {
			t.Errorf("%d looks within a second", n)
		}
		time.Sleep(200 * time.Millisecond)
		verdict = errors.New("the database is away")
		askers()
		if n := looks.Load(); n != 2 {
			t.Errorf("%d looks after a second", n)
		}
		time.Sleep(200 * time.Millisecond)
		verdict = nil
		askers()
		if n := looks.Load(); n != 3 {
			t.Errorf("%d looks when a node has become ready", n)
		}
	})
}
