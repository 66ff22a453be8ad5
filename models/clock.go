package models

import (
	"context"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
)

// storeClock is the node's clock plus its measured offset from the database's
// clock, so that nodes whose clocks differ agree about sessions.
type storeClock struct {
	now    func() time.Time
	offset atomic.Int64 // nanoseconds
}

// Now returns the store time: the node's clock corrected to the database's.
func (s *Store) Now() time.Time {
	return s.clock.now().Add(s.ClockOffset()).UTC()
}

// ClockOffset returns how far the database's clock is ahead of this node's.
func (s *Store) ClockOffset() time.Duration { return time.Duration(s.clock.offset.Load()) }

// measure sets the offset. read returns the time of the database, which measure
// assigns to the middle of the round trip.
func (c *storeClock) measure(read func() (unixMicro int64, err error)) error {
	before := c.now()
	answer, err := read()
	if err != nil {
		return err
	}
	trip := c.now().Sub(before)
	c.offset.Store(int64(time.UnixMicro(answer).Sub(before.Add(trip / 2))))
	return nil
}

const clockQuery = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

// MeasureClock measures the offset from the database's clock again. On SQLite
// it does nothing, because the database uses the node's clock.
func (s *Store) MeasureClock(ctx context.Context) error {
	if s.dialect.name != postgresDialect.name {
		return nil
	}
	return s.queryWithoutSchema(ctx, func(db *gorm.DB) error {
		return s.clock.measure(func() (at int64, err error) {
			err = db.Raw(clockQuery).Row().Scan(&at)
			return at, err
		})
	})
}
