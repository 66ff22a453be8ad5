package models

import (
	"context"
	"slices"
	"time"

	"gorm.io/gorm"
)

// Polled is what a receiver that polls has answered.
type Polled struct {
	Accepted []EventID
	Statuses []EventID  // accepted as well: events about the status of the stream, which have rows
	Refused  []Delivery // with Event, SessionID, Type and Error
}

// AcknowledgeDeliveries records what the receiver of a polled destination has
// accepted and refused, in one transaction that locks the state of the
// destination. It ignores events that the receiver has accepted or refused
// before. It returns how many events it recorded. ErrNotFound: there is no such
// destination.
func (s *Store) AcknowledgeDeliveries(ctx context.Context, key DestinationKey, p Polled) (accepted, refused int, err error) {
	err = s.transaction(ctx, func(tx *gorm.DB) error {
		accepted, refused = 0, 0
		state, err := lockDeliveryState(tx, key)
		if err != nil {
			return err
		}
		a := &acknowledgement{tx: tx, state: state, known: map[EventID]bool{}}
		for _, id := range state.Accepted {
			a.known[id] = true
		}
		now := s.Now()
		if accepted, err = a.accept(p.Accepted); err != nil {
			return err
		}
		statuses, err := a.acceptRows(p.Statuses)
		if err != nil {
			return err
		}
		accepted += statuses
		for _, d := range p.Refused {
			d.DestinationKey, d.DeadAt, d.FirstAt, d.Attempts = key, now, now, 1
			done, err := a.refuse(d)
			if err != nil {
				return err
			}
			if done {
				refused++
				state.LastError = d.Error
				state.Recent = append(state.Recent, Attempt{Event: d.Event, Type: d.Type, At: now, Number: 1, Error: d.Error})
			}
		}
		switch {
		case accepted+refused == 0:
			return nil
		case refused > 0 && state.FailingSince.IsZero():
			state.FailingSince = now
		case refused == 0:
			state.FailingSince, state.LastError = time.Time{}, ""
		}
		_, err = writeDeliveryState(tx, *state)
		return err
	})
	return accepted, refused, err
}

// acknowledgement records answers in the state of a destination, whose row is
// locked.
type acknowledgement struct {
	tx    *gorm.DB
	state *DeliveryState
	known map[EventID]bool // answered, and younger than ToldTo
}

// accept records accepted events and returns how many of them were unanswered.
func (a *acknowledgement) accept(all []EventID) (n int, err error) {
	for _, id := range all {
		if a.answered(id) {
			n++
		}
	}
	rows, err := a.acceptRows(all)
	return n + rows, err
}

// acceptRows deletes the rows of accepted events and returns how many there were.
func (a *acknowledgement) acceptRows(all []EventID) (n int, err error) {
	for ids := range slices.Chunk(all, revocationChunk) {
		done := a.tx.Exec("DELETE FROM event_deliveries WHERE tenant_id = ? AND destination_id = ? AND event_id IN ? AND dead_at IS NULL", a.state.Tenant, a.state.ID, eventKeys(ids))
		if done.Error != nil {
			return n, done.Error
		}
		n += int(done.RowsAffected)
	}
	return n, nil
}

// refuse records a refused event as given up and reports whether it was
// unanswered.
func (a *acknowledgement) refuse(d Delivery) (bool, error) {
	if a.answered(d.Event) {
		return true, putDelivery(a.tx, d)
	}
	done := a.tx.Exec(`UPDATE event_deliveries SET dead_at = ?, next_at = NULL, attempts = attempts + 1, error = ?
		WHERE tenant_id = ? AND destination_id = ? AND event_id = ? AND dead_at IS NULL`, At(d.DeadAt), d.Error, d.Tenant, d.ID, d.Event[:])
	return done.RowsAffected > 0, done.Error
}

// answered records that the receiver has answered for an event and reports
// whether it had not done so before. An event that the list has no room for
// stays unanswered, so that it is sent again.
func (a *acknowledgement) answered(id EventID) bool {
	if !a.state.ToldTo.Less(id) || a.known[id] || len(a.state.Accepted) >= mostAccepted {
		return false
	}
	a.known[id] = true
	a.state.Accepted = append(a.state.Accepted, id)
	return true
}

// AdvanceDeliveries moves ToldTo of a polled destination forward. It does
// nothing if the state was replaced since it had the revision.
func (s *Store) AdvanceDeliveries(ctx context.Context, key DestinationKey, revision int64, toldTo EventID) error {
	return s.transaction(ctx, func(tx *gorm.DB) error {
		state, err := lockDeliveryState(tx, key)
		if err != nil || state.Revision != revision || !state.ToldTo.Less(toldTo) {
			return err
		}
		state.ToldTo = toldTo
		_, err = writeDeliveryState(tx, *state)
		return err
	})
}

// ForgetDeliveries deletes the rows of events that the log keeps no longer.
func (s *Store) ForgetDeliveries(ctx context.Context, key DestinationKey, ids []EventID) error {
	return s.transaction(ctx, func(tx *gorm.DB) error { return removeDeliveries(tx, key, ids) })
}

// lockDeliveryState reads the state of a destination and locks its row.
func lockDeliveryState(tx *gorm.DB, key DestinationKey) (*DeliveryState, error) {
	// An UPDATE locks the row on both engines.
	err := tx.Exec("UPDATE event_destination_states SET revision = revision WHERE tenant_id = ? AND destination_id = ?", key.Tenant, key.ID).Error
	if err != nil {
		return nil, err
	}
	return readDeliveryState(tx, key)
}
