// Package delivery sends the events of tenants to their event destinations: as webhooks
// (Standard Webhooks 1.0) and as security event tokens (RFC 8417, CAEP 1.0), pushed
// (RFC 8935).
//
// Every event of the log is delivered at least once. One node at a time delivers, the
// holder of a lease. It follows the log, holds what each destination has not accepted in
// a queue, and stores how far each has come: see [models.DeliveryState].
package delivery

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/fetch"
	"github.com/latchkey/latchkey/settings"
)

const (
	leaseFor  = 10 * time.Second
	renewEach = 2 * time.Second // also how often this node looks for changed destinations

	reloadEach = 30 * time.Second // how often destinations are read, whether or not they have changed

	lookEach     = 300 * time.Millisecond
	lookBack     = 3 * time.Second // of most looks
	lookFarEach  = 5 * time.Second // how often a look goes back by models.LateCommit
	stepEach     = 50 * time.Millisecond
	saveEach     = time.Second
	stopWait     = 3 * time.Second // for attempts in flight, when the node stops
	eventPage    = 500
	freshFor     = 5 * time.Second // how long an event that was read is delivered as it was
	rememberSeen = 2 * models.LateCommit
)

// Options are what a Deliverer needs.
type Options struct {
	Store *models.Store
	Log   *slog.Logger
	Proxy *url.URL // for requests to public addresses; nil: none

	// Open decrypts the secret of a destination.
	Open func(tenant, destination string, sealed []byte, root int64) (string, error)
	// Sign signs the claims of a security event token with the key of a tenant.
	Sign func(ctx context.Context, tenant string, claims map[string]any) (string, error)
	// Issuer returns the issuer URL of a tenant.
	Issuer func(tenant string) string
}

// Deliverer delivers events. It is safe for concurrent use.
type Deliverer struct {
	o       Options
	store   *models.Store
	holder  string
	clients map[bool]*http.Client // by whether private addresses are allowed

	mu      sync.Mutex
	lines   map[models.DestinationKey]*line // while this node delivers
	until   time.Time                       // of the lease
	entries map[[2]string]string            // ids of trusted issuers by tenant and row
	counts  Counts
}

// Counts are numbers of this node since it started.
type Counts struct {
	Delivered float64 // events that receivers have accepted
	Failed    float64 // attempts that failed
	Dead      float64 // events that were given up; their last attempt has failed as well
}

// New returns a Deliverer, which does nothing before Run.
func New(o Options) *Deliverer {
	d := &Deliverer{o: o, store: o.Store, holder: rand.Text(), lines: map[models.DestinationKey]*line{}, entries: map[[2]string]string{}}
	d.clients = map[bool]*http.Client{}
	for _, private := range []bool{false, true} {
		f := fetch.Options{AllowPrivate: private, Timeout: attemptTimeout, MaxBody: mostRead, IdlePerHost: mostInFlight}
		if !private {
			f.Proxy = o.Proxy
		}
		c := fetch.New(f)
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		d.clients[private] = c
	}
	return d
}

// line is a destination to which this node delivers.
type line struct {
	mu     sync.Mutex
	row    models.Destination
	q      *queue
	cancel context.CancelFunc // of its attempts
	ctx    context.Context
}

// Run delivers while this node holds the lease, until ctx ends.
func (d *Deliverer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if d.renew(ctx) {
			d.deliver(ctx)
		}
		sleep(ctx, renewEach)
	}
}

func sleep(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// renew acquires or renews the lease, and reports whether this node holds it.
func (d *Deliverer) renew(ctx context.Context) bool {
	now := d.store.Now()
	held, err := d.store.Lease(ctx, models.DeliveryLease, d.holder, now, leaseFor)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err != nil: // it may be renewed in time yet
	case held:
		d.until = now.Add(leaseFor)
	default:
		d.until = time.Time{}
	}
	return now.Before(d.until)
}

// remaining returns for how long this node still holds the lease.
func (d *Deliverer) remaining() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.until.Sub(d.store.Now())
}

// holds reports whether this node may deliver.
func (d *Deliverer) holds() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.store.Now().Before(d.until)
}

// deliver delivers until the lease is lost or ctx ends.
func (d *Deliverer) deliver(ctx context.Context) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	h := &head{seen: map[models.EventID]bool{}}
	var attempts sync.WaitGroup
	defer d.drop()
	var renewed, looked, saved time.Time
	var destinations known
	failing := false
	report := func(what string, err error) {
		if err != nil && !failing && ctx.Err() == nil {
			d.o.Log.Warn("events are not delivered", "cause", what, "error", err)
		}
		failing = err != nil
	}
	for {
		now := time.Now()
		if now.Sub(renewed) >= renewEach || d.remaining() <= leaseFor-2*renewEach {
			renewed = now
			if !d.renew(ctx) {
				return
			}
			if err := d.reloadChanged(ctx, work, &destinations); err != nil {
				report("the destinations cannot be read", err)
			}
		}
		if now.Sub(looked) >= lookEach && len(d.lines) > 0 {
			looked = now
			err := d.look(ctx, h)
			report("the event log cannot be read", err)
		}
		if !d.holds() {
			return
		}
		d.step(&attempts)
		if now.Sub(saved) >= saveEach {
			saved = now
			if err := d.save(ctx); errors.Is(err, models.ErrLeaseLost) {
				return
			} else if err != nil {
				report("the progress cannot be stored", err)
			}
		}
		wait := stepEach
		if len(d.lines) == 0 { // reload will find the first one
			wait = renewEach
		}
		if sleep(ctx, wait); ctx.Err() != nil {
			d.finish(&attempts)
			return
		}
	}
}

// finish waits for the attempts in flight, stores what came of them, and lets another
// node deliver.
func (d *Deliverer) finish(attempts *sync.WaitGroup) {
	d.mu.Lock()
	d.until = time.Time{} // no further attempts
	d.mu.Unlock()
	over := make(chan struct{})
	go func() { attempts.Wait(); close(over) }()
	select {
	case <-over:
	case <-time.After(stopWait):
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	err := d.save(ctx)
	if err == nil {
		err = d.store.ReleaseLease(ctx, models.DeliveryLease, d.holder)
	}
	if err != nil && !errors.Is(err, models.ErrLeaseLost) {
		d.o.Log.Warn("the progress of deliveries could not be stored: some events will be repeated", "error", err)
	}
}

// drop ends all attempts: another node delivers.
func (d *Deliverer) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, l := range d.lines {
		l.cancel()
		delete(d.lines, key)
	}
	d.until = time.Time{}
}

// all returns the lines.
func (d *Deliverer) all() []*line {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*line, 0, len(d.lines))
	for _, l := range d.lines {
		list = append(list, l)
	}
	return list
}

// known is which destinations were read.
type known struct {
	version string
	at      time.Time
}

// reloadChanged is reload, if something has changed or the last time is long ago.
func (d *Deliverer) reloadChanged(ctx, work context.Context, k *known) error {
	version, err := d.store.DestinationsVersion(ctx)
	if err != nil || version == k.version && time.Since(k.at) < reloadEach {
		return err
	}
	if err := d.reload(ctx, work); err != nil {
		return err
	}
	k.version, k.at = version, time.Now()
	return nil
}

// reload reads the destinations, and the state of those that are new or that an
// operator has changed.
func (d *Deliverer) reload(ctx, work context.Context) error {
	rows, err := d.store.Destinations(ctx)
	if err != nil {
		return err
	}
	var revisions map[models.DestinationKey]int64
	if len(rows) > 0 {
		if revisions, err = d.store.DeliveryRevisions(ctx); err != nil {
			return err
		}
	}
	wanted := map[models.DestinationKey]bool{}
	for _, row := range rows {
		key := models.DestinationKey{Tenant: row.TenantID, ID: row.ID}
		if row.Settings.Type == settings.DestinationPoll {
			continue
		}
		if !row.Active() {
			notices, err := d.store.StatusDeliveries(ctx, key)
			if err != nil {
				return err
			}
			if len(notices) == 0 {
				continue
			}
		}
		wanted[key] = true
		d.mu.Lock()
		l := d.lines[key]
		d.mu.Unlock()
		if l != nil {
			l.mu.Lock()
			// disable has canceled the attempts of a destination that was enabled again before
			// this reload.
			current := l.ctx.Err() == nil && l.q.paused != row.Active() && l.q.revision == revisions[key] && slices.Equal(l.row.Settings.Events, row.Settings.Events)
			if current {
				l.row = row
			}
			l.mu.Unlock()
			if current {
				continue
			}
			if err := d.forget(ctx, key); err != nil {
				return err
			}
		}
		if err := d.begin(ctx, work, row); err != nil && !errors.Is(err, models.ErrNotFound) {
			return err
		}
	}
	for _, l := range d.all() {
		if !wanted[l.q.key] {
			if err := d.forget(ctx, l.q.key); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget ends the attempts of a destination, and stores how far it has come.
func (d *Deliverer) forget(ctx context.Context, key models.DestinationKey) error {
	d.mu.Lock()
	l := d.lines[key]
	delete(d.lines, key)
	d.mu.Unlock()
	if l == nil {
		return nil
	}
	defer l.cancel()
	return d.saveLines(ctx, []*line{l})
}

// begin reads the state of a destination.
func (d *Deliverer) begin(ctx, work context.Context, row models.Destination) error {
	key := models.DestinationKey{Tenant: row.TenantID, ID: row.ID}
	state, err := d.store.DeliveryState(ctx, key)
	if err != nil {
		return err
	}
	var parked []models.Delivery
	if row.Active() {
		parked, err = d.store.Deliveries(ctx, key, false, models.EventID{}, 2*mostParked)
	} else { // nothing else is sent while it is paused
		parked, err = d.store.StatusDeliveries(ctx, key)
	}
	if err != nil {
		return err
	}
	ids := make([]models.EventID, len(parked))
	for i := range parked {
		ids[i] = parked[i].Event
	}
	events, err := d.store.EventsByID(ctx, row.TenantID, ids)
	if err != nil {
		return err
	}
	l := &line{row: row, q: newQueue(state, parked, events)}
	if !row.Active() {
		l.q.pause()
	}
	l.ctx, l.cancel = context.WithCancel(work)
	d.mu.Lock()
	d.lines[key] = l
	d.mu.Unlock()
	return nil
}

// head is where this node has read the event log of all destinations.
type head struct {
	looked time.Time // of the database, when the last look began
	far    time.Time // when the last one began that went back far
	seen   map[models.EventID]bool
}

// look offers new events to the destinations, and lets those that are behind read on.
func (d *Deliverer) look(ctx context.Context, h *head) error {
	lines := d.all()
	var tenants []string
	for _, l := range lines {
		if !slices.Contains(tenants, l.q.key.Tenant) {
			tenants = append(tenants, l.q.key.Tenant)
		}
	}
	slices.Sort(tenants)
	now := d.store.Now()
	from, far := h.looked.Add(-lookBack), now.Sub(h.far) >= lookFarEach
	if far {
		from = h.far.Add(-models.LateCommit)
	}
	if h.looked.IsZero() {
		from = now.Add(-models.LateCommit)
	}
	for after := models.EventFrom(from); ; {
		ids, err := d.store.NewEventIDs(ctx, tenants, after, 10*eventPage)
		if err != nil {
			return err
		}
		unknown := map[string][]models.EventID{}
		for _, e := range ids {
			if !h.seen[e.ID] {
				unknown[e.TenantID] = append(unknown[e.TenantID], e.ID)
			}
		}
		for tenant, list := range unknown {
			events, err := d.store.EventsByID(ctx, tenant, list)
			if err != nil {
				return err
			}
			for _, e := range events {
				if e.Type == models.EventSessionCreated && anyWants(lines, tenant, "session.new_device") {
					if err := d.store.NoteNewDevice(ctx, e); err != nil {
						return err
					}
				}
				h.seen[e.ID] = true
				for _, l := range lines {
					l.offer(e, now)
				}
			}
		}
		if len(ids) < 10*eventPage {
			break
		}
		after = ids[len(ids)-1].ID
	}
	if h.looked = now; far {
		h.far = now
		for id := range h.seen {
			if now.Sub(id.At()) > rememberSeen {
				delete(h.seen, id)
			}
		}
	}
	for _, l := range lines {
		if err := d.readOn(ctx, l, now); err != nil {
			return err
		}
	}
	return nil
}

// wants reports whether the destination gets an event.
func (l *line) wants(e models.ListedEvent) bool {
	return e.TenantID == l.q.key.Tenant && Wants(&l.row, e)
}

// Wants reports whether a destination of the event's tenant gets it.
func Wants(row *models.Destination, e models.ListedEvent) bool {
	outward := e.Delivered()
	switch {
	case outward == "":
		return false
	case outward == models.DeliveredStatus:
		return false // the log need not be read for it: see begin
	case outward == models.DeliveredVerification:
		return e.Details["destination"] == row.ID
	case row.Settings.Type != settings.DestinationWebhook && securityType(outward) == "":
		return false
	}
	return row.Settings.Matches(outward)
}

// anyWants reports whether a destination of a tenant gets events of a type.
func anyWants(lines []*line, tenant, outward string) bool {
	return slices.ContainsFunc(lines, func(l *line) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.q.key.Tenant == tenant && l.row.Settings.Type == settings.DestinationWebhook && l.row.Settings.Matches(outward)
	})
}

func (l *line) offer(e models.ListedEvent, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wants(e) {
		l.q.offer(e, now)
	}
}

// readOn reads what a destination that is behind has room for.
func (d *Deliverer) readOn(ctx context.Context, l *line, now time.Time) error {
	for range 4 { // then the others have their turn
		l.mu.Lock()
		behind, from, free := l.q.behind, l.q.readTo, l.q.free()
		l.mu.Unlock()
		if !behind || free < mostWaiting/2 {
			return nil
		}
		events, err := d.store.NewEvents(ctx, []string{l.q.key.Tenant}, from, eventPage)
		if err != nil {
			return err
		}
		l.mu.Lock()
		for _, e := range events {
			if l.wants(e) {
				l.q.add(e, now)
			}
			l.q.readTo = e.ID
		}
		if len(events) < eventPage {
			l.q.behind = false
		}
		l.mu.Unlock()
	}
	return nil
}

// step begins the attempts that are due.
func (d *Deliverer) step(attempts *sync.WaitGroup) {
	for _, l := range d.all() {
		d.stepLine(l, attempts)
	}
}

func (d *Deliverer) stepLine(l *line, attempts *sync.WaitGroup) {
	for l.ctx.Err() == nil && d.holds() {
		l.mu.Lock()
		it := l.q.next(d.store.Now())
		row := l.row
		l.mu.Unlock()
		if it == nil {
			return
		}
		attempts.Go(func() {
			event, kept, err := d.current(l.ctx, it)
			if err == nil && !kept {
				l.mu.Lock()
				l.q.drop(it)
				l.mu.Unlock()
				d.stepLine(l, attempts)
				return
			}
			var out outcome
			if err != nil {
				out.Attempt = models.Attempt{Event: it.Event, Type: it.Type, At: d.store.Now(), Number: it.Attempts + 1, Error: "the database cannot be read"}
			} else {
				out = d.attempt(l.ctx, &row, event, it.Attempts+1)
			}
			if l.ctx.Err() != nil && !out.accepted {
				return // it was cut off; whoever goes on repeats it
			}
			l.mu.Lock()
			dead := l.q.done(it, out, d.store.Now(), mathrand.Float64())
			l.mu.Unlock()
			d.count(out.accepted, dead)
			if out.gone {
				d.disable(l, out.Error)
			}
			d.stepLine(l, attempts)
		})
	}
}

// current returns the event of an item in flight as the log has it, and whether the log
// still has it. A user may have been deleted since the event was read.
func (d *Deliverer) current(ctx context.Context, it *item) (e models.ListedEvent, kept bool, err error) {
	now := d.store.Now()
	if now.Sub(it.readAt).Abs() <= freshFor {
		return it.event, true, nil
	}
	events, err := d.store.EventsByID(ctx, it.event.TenantID, []models.EventID{it.Event})
	if err != nil || len(events) == 0 {
		return e, false, err
	}
	it.event, it.readAt = events[0], now
	return it.event, true, nil
}

func (d *Deliverer) count(accepted, dead bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if accepted {
		d.counts.Delivered++
	} else {
		d.counts.Failed++
	}
	if dead {
		d.counts.Dead++
	}
}

// disable stops the deliveries to a receiver that wants no more.
func (d *Deliverer) disable(l *line, cause string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), attemptTimeout)
	defer cancel()
	l.cancel()
	if err := d.store.DisableDestination(ctx, l.q.key.Tenant, l.q.key.ID, cause, models.ServerActor); err != nil {
		d.o.Log.Warn("could not disable an event destination whose receiver answered 410", "tenant", l.q.key.Tenant, "destination", l.q.key.ID, "error", err)
		return
	}
	d.o.Log.Warn("disabled an event destination: its receiver answered 410", "tenant", l.q.key.Tenant, "destination", l.q.key.ID)
}

// save stores how far the destinations have come.
func (d *Deliverer) save(ctx context.Context) error { return d.saveLines(ctx, d.all()) }

func (d *Deliverer) saveLines(ctx context.Context, lines []*line) error {
	horizon := models.EventFrom(d.store.Now().Add(-models.LateCommit))
	var list []models.DeliveryProgress
	var of []*line
	for _, l := range lines {
		l.mu.Lock()
		if p, changed := l.q.progress(horizon); changed {
			list, of = append(list, p), append(of, l)
		}
		l.mu.Unlock()
	}
	if len(list) == 0 {
		return nil
	}
	changed, err := d.store.SaveDeliveries(ctx, d.holder, list)
	for i, l := range of {
		l.mu.Lock()
		switch {
		case err != nil:
			l.q.changed = true
		case !slices.Contains(changed, l.q.key): // otherwise reload reads it again
			l.q.stored(list[i])
		}
		l.mu.Unlock()
	}
	return err
}

// entryID returns the id of an event's trusted issuer.
func (d *Deliverer) entryID(ctx context.Context, e models.ListedEvent) (string, error) {
	if e.IssuerID == "" {
		return "", nil
	}
	key := [2]string{e.TenantID, e.IssuerID}
	d.mu.Lock()
	id, known := d.entries[key]
	d.mu.Unlock()
	if known {
		return id, nil
	}
	id, err := d.store.IssuerEntryID(ctx, e.TenantID, e.IssuerID)
	if err != nil {
		return "", errors.New("the database cannot be read")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.entries) > 10_000 {
		clear(d.entries)
	}
	d.entries[key] = id
	return id, nil
}

// Test makes one attempt at a destination with an event that is not in the log, and
// returns what came of it.
func (d *Deliverer) Test(ctx context.Context, row *models.Destination) models.Attempt {
	now := d.store.Now()
	e := models.ListedEvent{ID: models.EventFrom(now), Event: models.Event{
		At: now, TenantID: row.TenantID, Type: models.EventVerification, Details: map[string]any{"destination": row.ID, "state": "test"},
	}}
	copy(e.ID[8:], rand.Text())
	return d.attempt(ctx, row, e, 1).Attempt
}

// Status is how one destination fares at the node that delivers.
type Status struct {
	models.DestinationKey
	Waiting  int           // events that it holds
	InFlight int           // of them, those that are being attempted
	Lag      time.Duration // age of the oldest of them
	Failing  bool
}

// Statuses returns the destinations to which this node delivers.
func (d *Deliverer) Statuses() (list []Status) {
	now := d.store.Now()
	for _, l := range d.all() {
		l.mu.Lock()
		s := Status{DestinationKey: l.q.key, Waiting: len(l.q.items), InFlight: l.q.inFlight, Failing: !l.q.failingSince.IsZero()}
		for id := range l.q.items {
			s.Lag = max(s.Lag, now.Sub(id.At()))
		}
		if l.q.behind {
			s.Lag = max(s.Lag, now.Sub(l.q.readTo.At()))
		}
		l.mu.Unlock()
		list = append(list, s)
	}
	return list
}

// Counts returns the numbers of this node.
func (d *Deliverer) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}
