package latchkeytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// heartbeat is the interval of the stream's signs of life.
const heartbeat = time.Second

// CutStreams ends every open revocation stream. Verifiers reconnect.
func (i *Issuer) CutStreams() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cuts++
	i.wakeStreams()
}

// SetSilent lets revocation streams stay open without sending anything, like a
// broken connection, until it is called with false.
func (i *Issuer) SetSilent(silent bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.silent = silent
	i.wakeStreams()
}

// wakeStreams makes the streams look for changes. The caller holds i.mu.
func (i *Issuer) wakeStreams() {
	close(i.changed)
	i.changed = make(chan struct{})
}

// snapshot contains the revocations since a position.
type snapshot struct {
	Cursor  string  `json:"cursor"`
	AsOf    int64   `json:"as_of"`
	Revoked []entry `json:"revoked"`
}

// since returns the revocations since a position, and the position after them.
func (i *Issuer) since(position int) (snapshot, int) {
	now := i.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	s := snapshot{Cursor: cursor(len(i.revoked)), AsOf: now.Unix(), Revoked: []entry{}}
	for _, e := range i.revoked[min(position, len(i.revoked)):] {
		if now.Unix() < e.Until {
			s.Revoked = append(s.Revoked, e)
		}
	}
	return s, len(i.revoked)
}

func cursor(position int) string { return "test." + strconv.Itoa(position) }

// parseCursor returns the position of a cursor, or 0.
func parseCursor(text string) int {
	number, _ := strings.CutPrefix(text, "test.")
	position, _ := strconv.ParseUint(number, 10, 31)
	return int(position)
}

func (i *Issuer) revocations(w http.ResponseWriter, r *http.Request) {
	if !i.authenticated(w, r) {
		return
	}
	if r.Header.Get("Accept") != "text/event-stream" {
		known, _ := i.since(parseCursor(r.URL.Query().Get("cursor")))
		writeJSON(w, http.StatusOK, known)
		return
	}
	i.mu.Lock()
	cuts := i.cuts
	i.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	known, position := i.since(parseCursor(r.Header.Get("Last-Event-ID")))
	writeEvent(w, "snapshot", known.Cursor, known)
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		i.mu.Lock()
		changed, cut, silent := i.changed, i.cuts != cuts, i.silent
		i.mu.Unlock()
		if cut {
			return
		}
		if !silent {
			known, position = i.since(position)
			for _, e := range known.Revoked {
				writeEvent(w, "revoked", known.Cursor, e)
			}
			fmt.Fprintf(w, ": as_of %d\n\n", known.AsOf)
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

func writeEvent(w http.ResponseWriter, name, id string, data any) {
	text, _ := json.Marshal(data) // cannot fail for strings and numbers
	fmt.Fprintf(w, "event: %s\nid: %s\ndata: %s\n\n", name, id, text)
}
