package models

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"
)

// DeliveryLease is the name of the lease whose holder delivers events.
const DeliveryLease = "events"

// LateCommit is how much later than its moment an event may become visible.
// Transactions do not commit in the order in which their events are stamped: an event
// has the time at which its request began to decide, a request may take 10 s in total,
// and the clocks of nodes may differ by ClockSkew.
const LateCommit = 2*operationTimeout + ClockSkew

// ClockSkew is how far the clocks of two nodes may differ.
const ClockSkew = 10 * time.Second

// ErrLeaseLost means that another node has taken over.
var ErrLeaseLost = errors.New("another node holds the lease")

// DestinationKey identifies an event destination.
type DestinationKey struct{ Tenant, ID string }

// DeliveryState is how far an event destination has been told.
type DeliveryState struct {
	DestinationKey
	ToldTo       EventID   // what is older was accepted, or has a Delivery
	Accepted     []EventID // younger events that were accepted
	FailingSince time.Time // zero: the last attempt succeeded
	LastError    string
	Recent       []Attempt // oldest first
	Revision     int64     // rises when an operator changes the state
}

// MostRecent is how many attempts a DeliveryState keeps.
const MostRecent = 50

// mostAccepted bounds DeliveryState.Accepted as it is stored. What is left out is
// repeated if another node takes over.
const mostAccepted = 8192

// Attempt is one attempt to deliver an event.
type Attempt struct {
	Event  EventID       `json:"event"`
	Type   string        `json:"type"` // outward
	At     time.Time     `json:"at"`
	Took   time.Duration `json:"took"`
	Number int           `json:"number"` // 1: the first
	Status int           `json:"status,omitempty"`
	Error  string        `json:"error,omitempty"`
	Answer string        `json:"answer,omitempty"`
}

// Delivery is an event that was passed over and not accepted yet, or given up.
type Delivery struct {
	DestinationKey
	Event     EventID
	SessionID *SessionID
	Type      string // outward
	Attempts  int
	FirstAt   time.Time
	NextAt    time.Time // zero: none
	DeadAt    time.Time // zero: not given up
	Status    int       // of the last answer; 0: none
	Error     string
	Answer    string
}

// MarshalText implements encoding.TextMarshaler.
func (id EventID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *EventID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseEventID(string(text))
	return err
}

// Less reports whether id is older than other.
func (id EventID) Less(other EventID) bool { return slices.Compare(id[:], other[:]) < 0 }

func insertDeliveryState(tx *gorm.DB, tenant, id string, from EventID) error {
	return tx.Exec(`INSERT INTO event_destination_states (tenant_id, destination_id, told_to, last_error, revision, recent) VALUES (?, ?, ?, '', 0, '[]')`,
		tenant, id, from[:]).Error
}

// DeliveryState returns the state of a destination. ErrNotFound: there is no such
// destination.
func (s *Store) DeliveryState(ctx context.Context, key DestinationKey) (state *DeliveryState, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		state, err = readDeliveryState(db, key)
		return err
	})
	return state, err
}

func readDeliveryState(db *gorm.DB, key DestinationKey) (*DeliveryState, error) {
	state := &DeliveryState{DestinationKey: key}
	var told, accepted []byte
	var failing Time
	var recent string
	err := db.Raw("SELECT told_to, accepted, failing_since, last_error, recent, revision FROM event_destination_states WHERE tenant_id = ? AND destination_id = ?",
		key.Tenant, key.ID).Row().Scan(&told, &accepted, &failing, &state.LastError, &recent, &state.Revision)
	if err != nil {
		return nil, orNotFound(err)
	}
	copy(state.ToldTo[:], told)
	for id := range slices.Chunk(accepted, len(EventID{})) {
		state.Accepted = append(state.Accepted, EventID(id))
	}
	state.FailingSince = failing.Time
	return state, json.Unmarshal([]byte(recent), &state.Recent)
}

// DestinationsVersion returns a text that differs once a destination, or an operator's
// change of its deliveries, has been committed.
func (s *Store) DestinationsVersion(ctx context.Context) (version string, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		var n, changed, revisions int64
		// The latest time would not show every change, because the clocks of nodes differ.
		// The sum does. Only the last digits are added, so that it fits into a BIGINT.
		err := db.Raw(`SELECT count(*), CAST(COALESCE(sum(updated_at % 1000000000000), 0) AS BIGINT),
			(SELECT CAST(COALESCE(sum(revision), 0) AS BIGINT) FROM event_destination_states) FROM event_destinations`).Row().Scan(&n, &changed, &revisions)
		version = fmt.Sprint(n, changed, revisions)
		return err
	})
	return version, err
}

// DeliveryRevisions returns the revision of every state.
func (s *Store) DeliveryRevisions(ctx context.Context) (revisions map[DestinationKey]int64, err error) {
	var rows []struct {
		TenantID, DestinationID string
		Revision                int64
	}
	err = s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT tenant_id, destination_id, revision FROM event_destination_states").Scan(&rows).Error
	})
	revisions = map[DestinationKey]int64{}
	for _, row := range rows {
		revisions[DestinationKey{row.TenantID, row.DestinationID}] = row.Revision
	}
	return revisions, err
}

// Deliveries returns what waits for a destination and was not given up, oldest first,
// or what was given up.
func (s *Store) Deliveries(ctx context.Context, key DestinationKey, dead bool, after EventID, limit int) ([]Delivery, error) {
	where := "dead_at IS NULL"
	if dead {
		where = "dead_at IS NOT NULL"
	}
	return s.deliveries(ctx, key, where, after, limit)
}

func (s *Store) deliveries(ctx context.Context, key DestinationKey, where string, after EventID, limit int) (list []Delivery, err error) {
	err = s.query(ctx, func(db *gorm.DB) (err error) {
		list, err = collect(db.Raw(`SELECT event_id, session_id, type, attempts, first_at, next_at, dead_at, status, error, answer FROM event_deliveries
			WHERE tenant_id = ? AND destination_id = ? AND event_id > ? AND `+where+` ORDER BY event_id LIMIT ?`, key.Tenant, key.ID, after[:], limit), func(rows *sql.Rows) (Delivery, error) {
			d := Delivery{DestinationKey: key}
			var id, sid []byte
			var first, next, dead Time
			err := rows.Scan(&id, &sid, &d.Type, &d.Attempts, &first, &next, &dead, &d.Status, &d.Error, &d.Answer)
			copy(d.Event[:], id)
			if len(sid) == len(SessionID{}) {
				session := SessionID(sid)
				d.SessionID = &session
			}
			d.FirstAt, d.NextAt, d.DeadAt = first.Time, next.Time, dead.Time
			return d, err
		})
		return err
	})
	return list, err
}

// mostStatuses is the largest number of events that StatusDeliveries returns.
const mostStatuses = 1000

// StatusDeliveries returns what waits to let an event stream know of its status, the
// oldest first.
func (s *Store) StatusDeliveries(ctx context.Context, key DestinationKey) (list []Delivery, err error) {
	return s.deliveries(ctx, key, "dead_at IS NULL AND type = '"+DeliveredStatus+"'", EventID{}, mostStatuses)
}

// ManyDeliveries is how far CountDeliveries counts.
const ManyDeliveries = 10_000

// CountDeliveries returns how many events wait for a destination, beyond what is still
// in the log, and how many were given up. A number greater than ManyDeliveries means more
// than that.
func (s *Store) CountDeliveries(ctx context.Context, key DestinationKey) (waiting, dead int, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		const count = `(SELECT count(*) FROM (SELECT 1 FROM event_deliveries WHERE tenant_id = @Tenant AND destination_id = @ID AND dead_at `
		const limit = ` ORDER BY tenant_id, destination_id, event_id LIMIT @Limit) counted)` // the order of the index, so that it is used
		return db.Raw("SELECT "+count+"IS NULL"+limit+", "+count+"IS NOT NULL"+limit, struct {
			Tenant, ID string
			Limit      int
		}{key.Tenant, key.ID, ManyDeliveries + 1}).Row().Scan(&waiting, &dead)
	})
	return waiting, dead, err
}

// DeliveryProgress is what a node that delivers has to store about one destination.
type DeliveryProgress struct {
	State  DeliveryState
	Put    []Delivery // added or changed
	Remove []EventID  // accepted
}

// SaveDeliveries stores the progress of destinations, all of it or nothing. A
// destination whose revision has changed is left out and returned: its state has to be
// read again. ErrLeaseLost: holder may no longer deliver.
func (s *Store) SaveDeliveries(ctx context.Context, holder string, progress []DeliveryProgress) (changed []DestinationKey, err error) {
	err = s.longTransaction(ctx, func(tx *gorm.DB) error {
		changed = nil
		var holders []string
		err := tx.Raw("SELECT holder FROM leases WHERE name = ? AND holder = ? AND expires_at > ?"+s.dialect.forUpdate, DeliveryLease, holder, At(s.Now())).Scan(&holders).Error
		if err != nil {
			return err
		}
		if len(holders) == 0 {
			return ErrLeaseLost
		}
		for _, p := range progress {
			saved, err := saveProgress(tx, p)
			if err != nil {
				return err
			}
			if !saved {
				changed = append(changed, p.State.DestinationKey)
			}
		}
		return nil
	})
	return changed, err
}

// writeDeliveryState writes a state, unless an operator has changed it since it was
// read.
func writeDeliveryState(tx *gorm.DB, st DeliveryState) (written bool, err error) {
	recent, err := json.Marshal(st.Recent[max(0, len(st.Recent)-MostRecent):])
	if err != nil {
		return false, err
	}
	younger := slices.DeleteFunc(slices.Clone(st.Accepted), func(id EventID) bool { return !st.ToldTo.Less(id) })
	slices.SortFunc(younger, func(a, b EventID) int { return slices.Compare(a[:], b[:]) })
	var accepted []byte
	for _, id := range younger[max(0, len(younger)-mostAccepted):] {
		accepted = append(accepted, id[:]...)
	}
	done := tx.Exec(`UPDATE event_destination_states SET told_to = ?, accepted = ?, failing_since = ?, last_error = ?, recent = ?
		WHERE tenant_id = ? AND destination_id = ? AND revision = ?`, st.ToldTo[:], accepted, At(st.FailingSince), st.LastError, string(recent), st.Tenant, st.ID, st.Revision)
	return done.RowsAffected > 0, done.Error
}

func saveProgress(tx *gorm.DB, p DeliveryProgress) (saved bool, err error) {
	st := p.State
	if saved, err = writeDeliveryState(tx, st); err != nil || !saved {
		return false, err
	}
	if err := removeDeliveries(tx, st.DestinationKey, p.Remove); err != nil {
		return false, err
	}
	for _, d := range p.Put {
		d.DestinationKey = st.DestinationKey
		if err := putDelivery(tx, d); err != nil {
			return false, err
		}
	}
	return true, nil
}

func removeDeliveries(tx *gorm.DB, key DestinationKey, all []EventID) error {
	for ids := range slices.Chunk(all, revocationChunk) {
		err := tx.Exec("DELETE FROM event_deliveries WHERE tenant_id = ? AND destination_id = ? AND event_id IN ?", key.Tenant, key.ID, eventKeys(ids)).Error
		if err != nil {
			return err
		}
	}
	return nil
}

// eventKeys returns the ids as arguments of a statement.
func eventKeys(ids []EventID) [][]byte {
	keys := make([][]byte, len(ids))
	for i := range ids {
		keys[i] = ids[i][:]
	}
	return keys
}

func putDelivery(tx *gorm.DB, d Delivery) error {
	var sid any
	if d.SessionID != nil {
		sid = d.SessionID[:]
	}
	return tx.Exec(`INSERT INTO event_deliveries (tenant_id, destination_id, event_id, session_id, type, attempts, first_at, next_at, dead_at, status, error, answer)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id, destination_id, event_id) DO UPDATE SET attempts = excluded.attempts,
		next_at = excluded.next_at, dead_at = excluded.dead_at, status = excluded.status, error = excluded.error, answer = excluded.answer`,
		d.Tenant, d.ID, d.Event[:], sid, d.Type, d.Attempts, At(d.FirstAt), At(d.NextAt), At(d.DeadAt), d.Status, d.Error, d.Answer).Error
}

// ReleaseLease gives up a lease, so that another node need not wait until it expires.
func (s *Store) ReleaseLease(ctx context.Context, name, holder string) error {
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("DELETE FROM leases WHERE name = ? AND holder = ?", name, holder).Error
	})
}

// NewEvents returns the events of some tenants from a moment on, oldest first, at most
// limit of them.
func (s *Store) NewEvents(ctx context.Context, tenants []string, after EventID, limit int) (list []ListedEvent, err error) {
	err = s.query(ctx, func(db *gorm.DB) (err error) {
		list, err = collect(db.Raw("SELECT "+listedColumns+" FROM events WHERE id > ? AND tenant_id IN ? ORDER BY id LIMIT ?", after[:], tenants, limit), scanListedEvent)
		return err
	})
	return list, err
}

// EventsByID returns those of some events of a tenant that are still in the log.
func (s *Store) EventsByID(ctx context.Context, tenant string, ids []EventID) (list []ListedEvent, err error) {
	for chunk := range slices.Chunk(ids, revocationChunk) {
		keys := eventKeys(chunk)
		err := s.query(ctx, func(db *gorm.DB) error {
			found, err := collect(db.Raw("SELECT "+listedColumns+" FROM events WHERE tenant_id = ? AND id IN ? ORDER BY id", tenant, keys), scanListedEvent)
			list = append(list, found...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// RedeliverSince lets a destination get again what happened since a moment.
// ErrNotFound: there is no such destination.
func (s *Store) RedeliverSince(ctx context.Context, key DestinationKey, since time.Time, by Actor) error {
	return s.changeDeliveries(ctx, key, by, "redelivered since "+since.UTC().Format(time.RFC3339), func(tx *gorm.DB, state *DeliveryState) error {
		from := EventFrom(since)
		if state.ToldTo.Less(from) {
			from = state.ToldTo
		}
		err := tx.Exec("UPDATE event_destination_states SET told_to = ?, accepted = NULL WHERE tenant_id = ? AND destination_id = ?", from[:], key.Tenant, key.ID).Error
		if err != nil {
			return err
		}
		return tx.Exec("DELETE FROM event_deliveries WHERE tenant_id = ? AND destination_id = ? AND event_id > ?", key.Tenant, key.ID, from[:]).Error
	})
}

// RedeliverDead lets a destination get again what was given up, and returns how many
// events that are. ErrNotFound: there is no such destination.
func (s *Store) RedeliverDead(ctx context.Context, key DestinationKey, by Actor) (n int64, err error) {
	err = s.changeDeliveries(ctx, key, by, "redelivered what was given up", func(tx *gorm.DB, _ *DeliveryState) error {
		now := At(s.Now())
		done := tx.Exec("UPDATE event_deliveries SET dead_at = NULL, attempts = 0, first_at = ?, next_at = ? WHERE tenant_id = ? AND destination_id = ? AND dead_at IS NOT NULL",
			now, now, key.Tenant, key.ID)
		n = done.RowsAffected
		return done.Error
	})
	return n, err
}

func (s *Store) changeDeliveries(ctx context.Context, key DestinationKey, by Actor, what string, change func(*gorm.DB, *DeliveryState) error) error {
	return s.longTransaction(ctx, func(tx *gorm.DB) error {
		if err := raiseRevision(tx, key); err != nil {
			return err
		}
		state, err := readDeliveryState(tx, key)
		if err != nil {
			return err
		}
		if err := change(tx, state); err != nil {
			return err
		}
		return s.audit(tx, by, Change{Tenant: key.Tenant, Kind: KindDestination, ID: key.ID, Act: what})
	})
}

// raiseRevision makes the node that delivers read the state of a destination again,
// and locks its row.
func raiseRevision(tx *gorm.DB, key DestinationKey) error {
	return tx.Exec("UPDATE event_destination_states SET revision = revision + 1 WHERE tenant_id = ? AND destination_id = ?", key.Tenant, key.ID).Error
}

// EventKey is an event that is named only.
type EventKey struct {
	ID       EventID
	TenantID string
}

// NewEventIDs is NewEvents, without what the events say.
func (s *Store) NewEventIDs(ctx context.Context, tenants []string, after EventID, limit int) (list []EventKey, err error) {
	err = s.query(ctx, func(db *gorm.DB) (err error) {
		list, err = collect(db.Raw("SELECT id, tenant_id FROM events WHERE id > ? AND tenant_id IN ? ORDER BY id LIMIT ?", after[:], tenants, limit), func(rows *sql.Rows) (k EventKey, err error) {
			var id []byte
			err = rows.Scan(&id, &k.TenantID)
			copy(k.ID[:], id)
			return k, err
		})
		return err
	})
	return list, err
}

// IssuerEntryID returns the id of the entry of a trusted issuer's row; empty: the row
// no longer exists.
func (s *Store) IssuerEntryID(ctx context.Context, tenant, row string) (id string, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT COALESCE(entry_id, '') FROM trusted_issuers WHERE tenant_id = ? AND id = ?", tenant, row).Scan(&id).Error
	})
	return id, err
}
