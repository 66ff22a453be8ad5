package delivery

import (
	"container/heap"
	"maps"
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
)

const (
	mostInFlight = 32   // attempts of one destination at a time
	mostWaiting  = 1000 // events that a destination holds; what follows waits in the log
	mostParked   = 1000 // events that were passed over; with more, the destination stays where it is

	parkAfter   = 3 // attempts
	failedAfter = 5 // failures one after the other, with which a receiver counts as away

	firstWait = 2 * time.Second // after the first failure; each one after doubles it
	mostWait  = time.Hour
	awayWait  = 30 * time.Second // at most, between two attempts at a receiver that is away
	giveUp    = 3 * 24 * time.Hour

	idleSave = time.Minute // how often a destination without events is stored
)

// item is an event that a destination has not accepted yet.
type item struct {
	event  models.ListedEvent
	readAt time.Time // when event was read; zero: read it again
	models.Delivery
	parked bool // it has a row: see models.Delivery
	place  int  // in the heap; -1: not in it
}

// queue has what a destination has not accepted yet. Events of one session are
// attempted one after the other. It is not safe for concurrent use.
type queue struct {
	key      models.DestinationKey
	toldTo   models.EventID
	accepted map[models.EventID]bool // younger than toldTo
	items    map[models.EventID]*item
	sessions map[models.SessionID][]*item // in order; only the first of each is in due
	due      dueHeap
	parked   int
	inFlight int

	behind bool           // there may be more in the log
	readTo models.EventID // how far the log was read, if behind

	failures     int       // one after the other
	probes       int       // of a receiver that is away, all of which failed
	retryAt      time.Time // the next probe
	failingSince time.Time
	lastError    string
	recent       []models.Attempt

	paused bool // it takes no events from the log, and toldTo stays

	revision    int64
	put, remove map[models.EventID]bool // rows to write, rows to delete
	dead        []models.Delivery       // given up, not stored yet
	changed     bool
	storedTo    models.EventID // toldTo as it is stored
}

func newQueue(state *models.DeliveryState, parked []models.Delivery, events []models.ListedEvent) *queue {
	q := &queue{
		key: state.DestinationKey, toldTo: state.ToldTo, accepted: map[models.EventID]bool{},
		items: map[models.EventID]*item{}, sessions: map[models.SessionID][]*item{},
		behind: true, readTo: state.ToldTo,
		revision: state.Revision, storedTo: state.ToldTo,
		failingSince: state.FailingSince, lastError: state.LastError, recent: state.Recent,
		put: map[models.EventID]bool{}, remove: map[models.EventID]bool{},
	}
	for _, id := range state.Accepted {
		q.accepted[id] = true
	}
	byID := map[models.EventID]models.ListedEvent{}
	for _, e := range events {
		byID[e.ID] = e
	}
	for _, p := range parked {
		e, kept := byID[p.Event]
		if !kept { // the log keeps it no longer
			q.remove[p.Event], q.changed = true, true
			continue
		}
		q.parked++
		q.insert(&item{event: e, Delivery: p, parked: true, place: -1})
	}
	return q
}

// knows reports whether an event needs nothing more than what is known of it.
func (q *queue) knows(id models.EventID) bool {
	return !q.toldTo.Less(id) || q.accepted[id] || q.items[id] != nil
}

// pause makes the queue one for events that have rows, and leaves the log as it is.
func (q *queue) pause() { q.paused, q.behind = true, false }

// offer adds an event that has just become visible, unless the queue is full or will
// read it in the log.
func (q *queue) offer(e models.ListedEvent, now time.Time) {
	switch {
	case q.paused, q.knows(e.ID), q.behind && q.readTo.Less(e.ID):
	case !q.behind && q.free() <= 0:
		q.behind, q.readTo = true, before(e.ID)
	default:
		q.add(e, now)
	}
}

func (q *queue) add(e models.ListedEvent, now time.Time) {
	if q.knows(e.ID) {
		return
	}
	q.insert(&item{event: e, readAt: now, place: -1, Delivery: models.Delivery{
		DestinationKey: q.key, Event: e.ID, SessionID: e.SessionID, Type: e.Delivered(), NextAt: now,
	}})
}

// free returns how many more events the queue holds before it is full.
func (q *queue) free() int { return mostWaiting - (len(q.items) - q.parked) }

// before returns the id just below id.
func before(id models.EventID) models.EventID {
	for i := len(id) - 1; i >= 0; i-- {
		id[i]--
		if id[i] != 0xff {
			break
		}
	}
	return id
}

func (q *queue) insert(it *item) {
	q.items[it.Event] = it
	if it.SessionID == nil {
		heap.Push(&q.due, it)
		return
	}
	line := q.sessions[*it.SessionID]
	at, _ := slices.BinarySearchFunc(line, it.Event, func(other *item, id models.EventID) int { return slices.Compare(other.Event[:], id[:]) })
	line = slices.Insert(line, at, it)
	q.sessions[*it.SessionID] = line
	// An event that became visible late does not overtake one that is in flight.
	if at == 0 && (len(line) == 1 || line[1].place >= 0) {
		if len(line) > 1 {
			heap.Remove(&q.due, line[1].place)
		}
		heap.Push(&q.due, it)
	}
}

// next returns the event to attempt now; nil: none.
func (q *queue) next(now time.Time) *item {
	limit := mostInFlight
	if q.away() {
		limit = 1
		if now.Before(q.retryAt) {
			return nil
		}
	}
	if q.inFlight >= limit || len(q.due) == 0 || q.due[0].NextAt.After(now) && !q.away() {
		return nil
	}
	q.inFlight++
	return heap.Pop(&q.due).(*item)
}

// away reports whether the receiver fails whatever it gets. One event at a time then
// finds out whether it is back.
func (q *queue) away() bool { return q.failures >= failedAfter }

// done takes note of what came of an attempt, and reports whether the event is given
// up. jitter is from 0 to 1.
func (q *queue) done(it *item, out outcome, now time.Time, jitter float64) (dead bool) {
	q.inFlight--
	q.changed = true
	q.recent = append(q.recent, out.Attempt)
	q.recent = q.recent[max(0, len(q.recent)-models.MostRecent):]
	it.Attempts++
	it.Status, it.Error, it.Answer = out.Status, out.Error, out.Answer
	if it.FirstAt.IsZero() {
		it.FirstAt = now
	}
	if out.accepted {
		q.failures, q.probes, q.retryAt, q.failingSince, q.lastError = 0, 0, time.Time{}, time.Time{}, ""
		if it.parked {
			q.remove[it.Event] = true
			delete(q.put, it.Event)
			q.parked--
		}
		q.finish(it)
		return false
	}
	q.failures++
	q.lastError = out.Error
	if q.failingSince.IsZero() {
		q.failingSince = now
	}
	wait := vary(backOff(it.Attempts, firstWait, mostWait), jitter)
	it.NextAt = now.Add(max(wait, out.wait))
	// Attempts that were in flight together fail together, and count as one probe.
	if q.away() && !now.Before(q.retryAt) {
		q.probes++
		q.retryAt = now.Add(vary(backOff(q.probes, firstWait, awayWait), jitter))
	}
	if asked := now.Add(out.wait); q.away() && out.wait > 0 && q.retryAt.Before(asked) {
		q.retryAt = asked
	}
	if out.final || now.Sub(it.FirstAt) >= giveUp {
		it.DeadAt, it.NextAt = now, time.Time{}
		delete(q.put, it.Event)
		if it.parked {
			q.parked--
		}
		q.finishDead(it)
		return true
	}
	if it.parked || it.Attempts >= parkAfter {
		q.park(it)
	}
	first := it
	if it.SessionID != nil {
		first = q.sessions[*it.SessionID][0] // one before it may have become visible meanwhile
	}
	heap.Push(&q.due, first)
	return false
}

// backOff returns how long to wait after so many failures.
func backOff(failures int, first, most time.Duration) time.Duration {
	wait := first
	for range failures - 1 {
		if wait *= 2; wait >= most {
			return most
		}
	}
	return wait
}

// vary spreads attempts that would otherwise come at the same time.
func vary(wait time.Duration, jitter float64) time.Duration {
	return time.Duration(float64(wait) * (0.75 + jitter/2))
}

// drop forgets an event in flight that is no longer in the log.
func (q *queue) drop(it *item) {
	q.inFlight--
	q.changed = true
	if it.parked {
		q.remove[it.Event] = true
		delete(q.put, it.Event)
		q.parked--
	}
	q.finish(it)
}

func (q *queue) finish(it *item) {
	q.accepted[it.Event] = true
	q.forget(it)
}

// finishDead lets the events after it of its session go on. Its row is written before
// it is forgotten.
func (q *queue) finishDead(it *item) {
	q.dead = append(q.dead, it.Delivery)
	q.finish(it)
}

func (q *queue) forget(it *item) {
	delete(q.items, it.Event)
	if it.SessionID == nil {
		return
	}
	line := q.sessions[*it.SessionID]
	at := slices.Index(line, it)
	line = slices.Delete(line, at, at+1)
	if len(line) == 0 {
		delete(q.sessions, *it.SessionID)
		return
	}
	if q.sessions[*it.SessionID] = line; line[0].place < 0 {
		heap.Push(&q.due, line[0])
	}
}

// held reports whether an event waits because it, or an earlier one of its session, was
// not accepted. While the receiver is away, everything else waits as well, in the log.
func (q *queue) held(it *item) bool {
	first := it
	if it.SessionID != nil {
		first = q.sessions[*it.SessionID][0]
	}
	return first.parked || first.Attempts > 0 && !q.away()
}

// park gives an item a row, so that the log need not be read again from there.
func (q *queue) park(it *item) {
	if !it.parked {
		if q.parked >= mostParked {
			return
		}
		it.parked = true
		q.parked++
	}
	q.put[it.Event] = true
}

// progress returns what has to be stored, and moves toldTo. horizon is the id before
// which no more events become visible.
func (q *queue) progress(horizon models.EventID) (p models.DeliveryProgress, changed bool) {
	for id, it := range q.items {
		if !it.parked && id.Less(horizon) && q.held(it) {
			q.park(it)
		}
	}
	told := horizon
	if q.behind && q.readTo.Less(told) {
		told = q.readTo
	}
	for id, it := range q.items {
		if !it.parked && !told.Less(id) {
			told = before(id)
		}
	}
	if q.toldTo.Less(told) && !q.paused {
		q.toldTo = told
		maps.DeleteFunc(q.accepted, func(id models.EventID, _ bool) bool { return !told.Less(id) })
		// An idle destination need not be written each second.
		q.changed = q.changed || told.At().Sub(q.storedTo.At()) > idleSave
	}
	if !q.changed && len(q.put)+len(q.remove)+len(q.dead) == 0 {
		return p, false
	}
	p.State = models.DeliveryState{
		DestinationKey: q.key, ToldTo: q.toldTo, Accepted: slices.Collect(maps.Keys(q.accepted)),
		FailingSince: q.failingSince, LastError: q.lastError, Recent: slices.Clone(q.recent), Revision: q.revision,
	}
	for id := range q.put {
		if it := q.items[id]; it != nil {
			p.Put = append(p.Put, it.Delivery)
		}
	}
	p.Put = append(p.Put, q.dead...)
	p.Remove = slices.Collect(maps.Keys(q.remove))
	q.changed = false
	return p, true
}

// stored takes note that the last progress was stored.
func (q *queue) stored(p models.DeliveryProgress) {
	q.storedTo = p.State.ToldTo
	for _, d := range p.Put {
		if it := q.items[d.Event]; it == nil || it.Delivery == d {
			delete(q.put, d.Event)
		}
	}
	for _, id := range p.Remove {
		delete(q.remove, id)
	}
	q.dead = slices.DeleteFunc(q.dead, func(d models.Delivery) bool { return slices.Contains(p.Put, d) })
}

// dueHeap orders events by when they are to be attempted.
type dueHeap []*item

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if !h[i].NextAt.Equal(h[j].NextAt) {
		return h[i].NextAt.Before(h[j].NextAt)
	}
	return h[i].Event.Less(h[j].Event)
}
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	it := x.(*item)
	it.place = len(*h)
	*h = append(*h, it)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	it := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	it.place = -1
	return it
}
