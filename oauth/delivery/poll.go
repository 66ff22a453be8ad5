package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
)

// MostPolled is the largest number of security event tokens in one answer to a
// poll.
const MostPolled = 1000

// pollWindow bounds how far beyond DeliveryState.ToldTo a poll reads, as a number
// of events of the tenant's log. It also bounds how many answered events the
// state has to remember while the receiver leaves an earlier one unanswered.
const pollWindow = 8000

// SETErr is why a receiver refuses a security event token (RFC 8936 §2.2).
type SETErr struct {
	Err         string `yaml:"err"`
	Description string `yaml:"description"`
}

// Acknowledge records what the receiver of a polled destination has accepted and
// refused. It ignores events that the destination does not get.
func (d *Deliverer) Acknowledge(ctx context.Context, row *models.Destination, accepted []models.EventID, refused map[models.EventID]SETErr) error {
	ids := slices.Clone(accepted)
	for id := range refused {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareIDs)
	events, err := d.store.EventsByID(ctx, row.TenantID, slices.Compact(ids))
	if err != nil {
		return err
	}
	var p models.Polled
	for _, e := range events {
		why, failed := refused[e.ID]
		mine := Wants(row, e) || e.Delivered() == models.DeliveredStatus && e.Details["destination"] == row.ID
		switch {
		case !mine:
		case failed:
			p.Refused = append(p.Refused, models.Delivery{
				Event: e.ID, SessionID: e.SessionID, Type: e.Delivered(),
				Error: "the receiver refused the event: " + printable([]byte(why.Err+": "+why.Description)),
			})
		case e.Delivered() == models.DeliveredStatus:
			p.Statuses = append(p.Statuses, e.ID)
		default:
			p.Accepted = append(p.Accepted, e.ID)
		}
	}
	if len(p.Accepted)+len(p.Statuses)+len(p.Refused) == 0 {
		return nil
	}
	delivered, dead, err := d.store.AcknowledgeDeliveries(ctx, keyOf(row), p)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts.Delivered += float64(delivered)
	d.counts.Failed += float64(dead)
	d.counts.Dead += float64(dead)
	return nil
}

// Poll returns the oldest security event tokens that the receiver has not answered,
// at most `most`, by their jti, and whether there are more. For a destination that is
// not active, it returns only those about its status.
func (d *Deliverer) Poll(ctx context.Context, row *models.Destination, most int) (sets map[string]string, more bool, err error) {
	sets = map[string]string{}
	var events []models.ListedEvent
	if row.Active() {
		events, more, err = d.unanswered(ctx, row, most)
	} else {
		events, more, err = d.statuses(ctx, row, most)
	}
	if err != nil {
		return nil, false, err
	}
	for _, e := range events {
		token, err := d.SecurityEvent(ctx, row, e)
		if err != nil && len(sets) > 0 {
			return sets, true, nil // the server is busy: the next poll gets the others
		}
		if err != nil {
			return nil, false, err
		}
		sets[e.ID.String()] = token
	}
	return sets, more, nil
}

// unanswered returns the oldest events that the receiver has not answered, at most
// `most`, and whether there are more. It also moves the state forward.
func (d *Deliverer) unanswered(ctx context.Context, row *models.Destination, most int) (events []models.ListedEvent, more bool, err error) {
	key := keyOf(row)
	state, err := d.store.DeliveryState(ctx, key)
	if err != nil {
		return nil, false, err
	}
	events, err = d.waiting(ctx, key, most+1)
	if err != nil {
		return nil, false, err
	}
	known := map[models.EventID]bool{}
	for _, e := range events {
		known[e.ID] = true
	}
	for _, id := range state.Accepted {
		known[id] = true
	}
	// Before the horizon, no more events become visible.
	told, open := models.EventFrom(d.store.Now().Add(-models.LateCommit)), false
	after, read := state.ToldTo, 0
	for len(events) <= most && read < pollWindow {
		page, err := d.store.NewEvents(ctx, []string{row.TenantID}, after, eventPage)
		if err != nil {
			return nil, false, err
		}
		for _, e := range page {
			after = e.ID
			if !Wants(row, e) || known[e.ID] {
				continue
			}
			events = append(events, e)
			if !open && e.ID.Less(told) {
				told = before(e.ID)
			}
			open = true
		}
		if read += len(page); len(page) < eventPage {
			after = told
			break
		}
	}
	behind := after.Less(told)
	if behind {
		told, more = after, true
	}
	if len(events) > most {
		events, more = events[:most], true
	}
	// An idle destination need not be written by each poll. One that is behind must be, so
	// that the next poll reads on.
	if state.ToldTo.Less(told) && (behind || len(state.Accepted) > 0 || told.At().Sub(state.ToldTo.At()) > idleSave) {
		err = d.store.AdvanceDeliveries(ctx, key, state.Revision, told)
	}
	return events, more, err
}

// statuses returns the events about the status of a stream that the receiver has not
// answered, at most `most`, and whether there are more.
func (d *Deliverer) statuses(ctx context.Context, row *models.Destination, most int) (events []models.ListedEvent, more bool, err error) {
	rows, err := d.store.StatusDeliveries(ctx, keyOf(row))
	if err != nil {
		return nil, false, err
	}
	if events, err = d.eventsOf(ctx, keyOf(row), rows); err == nil && len(events) > most {
		events, more = events[:most], true
	}
	return events, more, err
}

// waiting returns the events that have a row because they were passed over, or
// because an operator lets the destination get them again.
func (d *Deliverer) waiting(ctx context.Context, key models.DestinationKey, limit int) ([]models.ListedEvent, error) {
	rows, err := d.store.Deliveries(ctx, key, false, models.EventID{}, limit)
	if err != nil {
		return nil, err
	}
	return d.eventsOf(ctx, key, rows)
}

// eventsOf returns the events of rows, and deletes the rows of which the log has no
// event any longer.
func (d *Deliverer) eventsOf(ctx context.Context, key models.DestinationKey, rows []models.Delivery) ([]models.ListedEvent, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	ids := make([]models.EventID, len(rows))
	for i := range rows {
		ids[i] = rows[i].Event
	}
	events, err := d.store.EventsByID(ctx, key.Tenant, ids)
	if err != nil || len(events) == len(ids) {
		return events, err
	}
	gone := slices.DeleteFunc(ids, func(id models.EventID) bool {
		return slices.ContainsFunc(events, func(e models.ListedEvent) bool { return e.ID == id })
	})
	return events, d.store.ForgetDeliveries(ctx, key, gone)
}

// keyOf returns the key of a destination.
func keyOf(row *models.Destination) models.DestinationKey {
	return models.DestinationKey{Tenant: row.TenantID, ID: row.ID}
}

func compareIDs(a, b models.EventID) int { return slices.Compare(a[:], b[:]) }

// Watch reports new events of a destination. It is not safe for concurrent use.
type Watch struct {
	d      *Deliverer
	row    models.Destination
	looked time.Time
	seen   map[models.EventID]bool
}

// Watch returns a Watch for events that become visible from now on.
func (d *Deliverer) Watch(ctx context.Context, row *models.Destination) (*Watch, error) {
	w := &Watch{d: d, row: *row, looked: d.store.Now(), seen: map[models.EventID]bool{}}
	_, err := w.unseen(ctx)
	return w, err
}

// Look reports whether the destination gets an event that became visible since the
// last look. It may miss one that became visible very late: poll now and then.
func (w *Watch) Look(ctx context.Context) (bool, error) {
	ids, err := w.unseen(ctx)
	if err != nil || len(ids) == 0 || !w.row.Active() {
		return false, err
	}
	events, err := w.d.store.EventsByID(ctx, w.row.TenantID, ids)
	return slices.ContainsFunc(events, func(e models.ListedEvent) bool { return Wants(&w.row, e) }), err
}

// unseen returns the recent events that no look has seen.
func (w *Watch) unseen(ctx context.Context) (ids []models.EventID, err error) {
	now := w.d.store.Now()
	for after := models.EventFrom(w.looked.Add(-lookBack)); ; {
		page, err := w.d.store.NewEventIDs(ctx, []string{w.row.TenantID}, after, 10*eventPage)
		if err != nil {
			return nil, err
		}
		for _, e := range page {
			if !w.seen[e.ID] {
				w.seen[e.ID] = true
				ids = append(ids, e.ID)
			}
		}
		if len(page) < 10*eventPage {
			w.looked = now
			return ids, nil
		}
		after = page[len(page)-1].ID
	}
}
