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
		var checks atomic.Int32
		var result error
		r := &readiness{check: func(context.Context) error {
			checks.Add(1)
			return result
		}}
		askAll := func() {
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if err := r.result(t.Context()); err != result {
						t.Errorf("got %v, want %v", err, result)
					}
				})
			}
			all.Wait()
		}
		askAll()
		time.Sleep(900 * time.Millisecond)
		askAll()
		if n := checks.Load(); n != 1 {
			t.Errorf("%d checks within a second", n)
		}
		time.Sleep(200 * time.Millisecond)
		result = errors.New("the database is unreachable")
		askAll()
		if n := checks.Load(); n != 2 {
			t.Errorf("%d checks after a second", n)
		}
		time.Sleep(200 * time.Millisecond)
		result = nil
		askAll()
		if n := checks.Load(); n != 3 {
			t.Errorf("%d checks when a node has become ready", n)
		}
	})
}
