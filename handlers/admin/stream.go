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
	// streamWrite is how long a reader of a stream may take to read a part of it.
	streamWrite = 10 * time.Second
	// followEvery is how often a stream of events looks for new ones.
	followEvery = time.Second
	// followOverlap is how far a stream looks back: transactions commit in another
	// order than their events' ids.
	followOverlap = 20 * time.Second
	// keepAlive is how often a stream sends something.
	keepAlive = 15 * time.Second
)

// stream writes an export. An error after its beginning breaks the connection off, so
// that nobody takes a part for the whole.
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
		g.Error(err)
		panic(http.ErrAbortHandler)
	}
}

// following is a stream of events.
type following struct {
	filter  models.EventFilter
	issuers map[string]string
	since   time.Time // events before are known
	sent    map[models.EventID]bool
}

func (a *api) beforeFollowing(ctx context.Context, c *Caller, tenant string, q EventSearch, last string) (*following, error) {
	issuers, err := a.beforeEvents(ctx, c, tenant)
	if err != nil {
		return nil, err
	}
	filter, err := q.filter(tenant)
	if err != nil {
		return nil, err
	}
	f := &following{filter: filter, issuers: issuers, since: a.Store.Now(), sent: map[models.EventID]bool{}}
	if last != "" {
		id, err := models.ParseEventID(last)
		if err != nil {
			return nil, invalidParameter("Last-Event-ID", "is not the id of an event")
		}
		f.since = id.At()
		f.sent[id] = true
	}
	return f, nil
}

// follow sends events as they are committed, until the reader goes away or its key may
// no longer read them.
func (a *api) follow(h huma.Context, c *Caller, f *following) {
	g := humagin.Unwrap(h)
	ctx := g.Request.Context()
	g.Header("Content-Type", "text/event-stream")
	g.Header("X-Accel-Buffering", "no")
	rc := http.NewResponseController(g.Writer)
	send := func(text string) bool {
		if rc.SetWriteDeadline(time.Now().Add(streamWrite)) != nil {
			return false
		}
		if _, err := g.Writer.WriteString(text); err != nil {
			return false
		}
		return rc.Flush() == nil
	}
	if !send(": connected\n\n") {
		return
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for quiet := time.Duration(0); ; quiet += followEvery {
		events, err := a.newEvents(ctx, f)
		if err != nil || a.stillMayFollow(ctx, c) != nil {
			return
		}
		for _, e := range events {
			text, err := json.Marshal(c.newEvent(e, f.issuers))
			if err != nil || !send(fmt.Sprintf("id: %s\ndata: %s\n\n", e.ID, text)) {
				return
			}
			quiet = 0
		}
		if quiet >= keepAlive {
			if quiet = 0; !send(": alive\n\n") {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// stillMayFollow returns an error if the caller's key has been revoked meanwhile.
func (a *api) stillMayFollow(ctx context.Context, c *Caller) error {
	row, err := a.Store.AdminKey(ctx, c.Key.ID)
	if err == nil && !row.Usable(a.Store.Now()) {
		err = errNotFound
	}
	return err
}

// newEvents returns the events that have been committed since the last call.
func (a *api) newEvents(ctx context.Context, f *following) (fresh []models.ListedEvent, err error) {
	filter := f.filter
	from := models.EventFrom(f.since.Add(-followOverlap))
	filter.Newer, filter.Limit = &from, models.MostExamined
	first := len(f.sent) == 0
	for {
		events, next, err := a.Store.ListEvents(ctx, filter)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if f.sent[e.ID] {
				continue
			}
			f.sent[e.ID] = true
			if !first || !e.At.Before(f.since) {
				fresh = append(fresh, e)
			}
		}
		if next == (models.EventID{}) {
			break
		}
		filter.Newer = &next
	}
	f.since = a.Store.Now()
	for id := range f.sent {
		if id.At().Before(f.since.Add(-2 * followOverlap)) {
			delete(f.sent, id)
		}
	}
	return fresh, nil
}
