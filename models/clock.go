package models

import (
	"context"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
)

// storeClock is the node's clock moved by its measured offset to the
// database's, so that nodes whose clocks differ agree about sessions.
type storeClock struct {
	now    func() time.Time
	offset atomic.Int64 // nanoseconds
}

// Now is store time: the node's clock as the database would tell it.
func (s *Store) Now() time.Time {
	return s.clock.now().Add(s.ClockOffset()).UTC()
}

// ClockOffset is how far the database's clock is ahead of this node's.
func (s *Store) ClockOffset() time.Duration { return time.Duration(s.clock.offset.Load()) }

// measure reads the database's clock through ask and takes the middle of the
// round trip for the moment of the answer.
func (c *storeClock) measure(ask func() (unixMicro int64, err error)) error {
	before := c.now()
	answer, err := ask()
	if err != nil {
		return err
	}
	trip := c.now().Sub(before)
	c.offset.Store(int64(time.UnixMicro(answer).Sub(before.Add(trip / 2))))
	return nil
}

const clockQuery = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

// MeasureClock measures the offset to the database's clock again. SQLite has
// the node's own clock.
func (s *Store) MeasureClock(ctx context.Context) error {
	if s.dialect.name != postgresDialect.name {
		return nil
	}
	return s.ask(ctx, func(db *gorm.DB) error {
		return s.clock.measure(func() (at int64, err error) {
			err = db.Raw(clockQuery).Row().Scan(&at)
			return at, err
		})
	})
}
