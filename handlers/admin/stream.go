package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/latchkey/latchkey/models"
)

const (
	// streamWrite bounds the time that a client takes to read one part of a stream.
	streamWrite = 10 * time.Second
	// followEvery is the interval at which a stream reads new events.
	followEvery = time.Second
	// followOverlap is how far back a stream reads every followFull: transactions may
	// commit in another order than that of their events' ids. In between, it reads
	// followShort back.
	followOverlap = 20 * time.Second
	followFull    = 5 * time.Second
	followShort   = 2 * time.Second
	// keepAlive is the longest time in which a stream sends nothing.
	keepAlive = 15 * time.Second
)

// stream writes an export. After an error it closes the connection without ending the
// response, so that the client does not take a part of the export for the whole.
func (a *api) stream(h huma.Context, c *Caller, tenant string, q SessionSearch) {
	g := humagin.Unwrap(h)
	g.Header("Content-Type", "application/jsonl")
	rc := http.NewResponseController(g.Writer)
	err := a.ExportSessions(g.Request.Context(), c, tenant, q, func(line []byte) error {
		if err := rc.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
			return err
		}
		_, err := g.Writer.Write(line)
		return err
	})
	if err != nil {
		if g.Request.Context().Err() == nil { // otherwise the reader went away
			a.Log.Error("an export of sessions was not completed", "request", c.RequestID, "tenant", tenant, "error", err)
		}
		panic(http.ErrAbortHandler)
	}
}

// following is a stream of events.
type following struct {
	filter  models.EventFilter
	issuers map[string]string
	begin   time.Time // earlier events are not sent
	since   time.Time // when events were last read
	full    time.Time // when they were last read with followOverlap
	last    models.EventID
	sent    map[models.EventID]bool // known already, whether or not the filter matches
}

func (s *Service) beforeFollowing(ctx context.Context, c *Caller, tenant string, q EventSearch, last string) (*following, error) {
	issuers, err := s.beforeEvents(ctx, c, tenant)
	if err != nil {
		return nil, err
	}
	filter, err := q.filter(tenant)
	if err != nil {
		return nil, err
	}
	now := s.Store.Now()
	f := &following{filter: filter, issuers: issuers, begin: now, since: now, last: models.EventFrom(now), sent: map[models.EventID]bool{}}
	if last != "" {
		if f.last, err = models.ParseEventID(last); err != nil {
			return nil, invalidParameter("Last-Event-ID", "is not the id of an event")
		}
		f.begin, f.since = time.Time{}, f.last.At()
		f.sent[f.last] = true
	}
	return f, nil
}

// follow sends events as they are committed, until the client closes the connection or
// its admin key is revoked.
func (a *api) follow(h huma.Context, c *Caller, f *following) {
	g := humagin.Unwrap(h)
	ctx := g.Request.Context()
	g.Header("Content-Type", "text/event-stream")
	g.Header("X-Accel-Buffering", "no")
	rc := http.NewResponseController(g.Writer)
	send := func(text string) error {
		if err := rc.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
			return err
		}
		if _, err := g.Writer.WriteString(text); err != nil {
			return err
		}
		return rc.Flush()
	}
	// This id belongs to no event. It lets a client resume that loses the connection
	// before the first event.
	if send(": connected\nid: "+f.last.String()+"\n\n") != nil {
		return
	}
	var quiet time.Duration
	_ = a.followEvents(ctx, c, f, func(events []Event) error { // the response has begun, so an error cannot be reported
		for _, e := range events {
			text, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if err := send(fmt.Sprintf("id: %s\ndata: %s\n\n", e.ID, text)); err != nil {
				return err
			}
			quiet = 0
		}
		if quiet += followEvery; quiet > keepAlive {
			quiet = 0
			return send(": alive\n\n")
		}
		return nil
	})
}

// FollowEvents calls send with the events of a tenant as they are committed, until
// ctx ends or send returns an error.
func (s *Service) FollowEvents(ctx context.Context, c *Caller, tenant string, q EventSearch, send func(Event) error) error {
	return s.FollowEventsAfter(ctx, c, tenant, q, "", func(events []Event) error {
		for _, e := range events {
			if err := send(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// FollowEventsAfter is FollowEvents for a reader whose last event has the id `last`;
// empty: it gets new events only. It calls send every second with the new events, of
// which there may be none.
func (s *Service) FollowEventsAfter(ctx context.Context, c *Caller, tenant string, q EventSearch, last string, send func([]Event) error) error {
	f, err := s.beforeFollowing(ctx, c, tenant, q, last)
	if err != nil {
		return err
	}
	end, err := s.streams.open(c.Key.ID)
	if err != nil {
		return err
	}
	defer end()
	return s.followEvents(ctx, c, f, send)
}

// followEvents calls send every second with the new events, of which there may be none.
func (s *Service) followEvents(ctx context.Context, c *Caller, f *following, send func([]Event) error) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		fresh, err := s.newEvents(ctx, f)
		if err != nil {
			return err
		}
		if err := s.stillMayFollow(ctx, c); err != nil {
			return err
		}
		events := make([]Event, len(fresh))
		for i, e := range fresh {
			events[i] = c.newEvent(e, f.issuers)
		}
		if err := send(events); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stillMayFollow returns an error if the caller's key has been revoked or has expired.
func (s *Service) stillMayFollow(ctx context.Context, c *Caller) error {
	if c.machine {
		return nil
	}
	row, err := s.Store.AdminKey(ctx, c.Key.ID)
	if err == nil && !row.Usable(s.Store.Now()) {
		err = ErrNotFound
	}
	return err
}

// newEvents returns the events that have been committed since the last call. It reads
// ids, by an index, and only the events whose ids are new. Most calls begin shortly
// before the last one; every followFull, a call begins followOverlap before the last of
// that kind, and finds what was committed late.
func (s *Service) newEvents(ctx context.Context, f *following) (fresh []models.ListedEvent, err error) {
	now := s.Store.Now()
	begin := f.since.Add(-followShort)
	full := f.full.IsZero() || now.Sub(f.full).Abs() >= followFull
	switch {
	case f.full.IsZero():
		begin = f.since.Add(-followOverlap)
	case full:
		begin = f.full.Add(-followOverlap)
	}
	from := models.EventFrom(begin)
	for {
		ids, err := s.Store.EventIDs(ctx, f.filter, from, models.MostExamined)
		if err != nil {
			return nil, err
		}
		var unknown []models.EventID
		for _, id := range ids {
			if !f.sent[id] && !id.At().Before(f.begin) {
				unknown = append(unknown, id)
			}
		}
		events, err := s.Store.FindEvents(ctx, f.filter, unknown)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, events...)
		for _, id := range unknown {
			f.sent[id] = true
		}
		if len(ids) < models.MostExamined {
			break
		}
		from = ids[len(ids)-1]
	}
	if f.since = now; full {
		f.full = now
	}
	for id := range f.sent {
		if id.At().Before(now.Add(-2 * followOverlap)) {
			delete(f.sent, id)
		}
	}
	return fresh, nil
}
