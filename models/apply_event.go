package models

import (
	"maps"
	"time"

	"github.com/latchkey/latchkey/session"
)

const (
	// lastIssue is how long after a client or tenant was disabled a node may
	// still issue tokens for it: the node learns of the change within 5 s, and
	// a request in progress ends within another 10 s.
	lastIssue = 15 * time.Second
	// lastCommit is the same margin for issuers and users. The issuing
	// statements check those directly, so it only has to cover one commit.
	lastCommit = 2 * time.Second
)

// addEvent keeps the event of an object that ends for writeEvents.
func (a *applier) addEvent(tenant string, what EventType, e Event) {
	e.TenantID, e.Type = tenant, what
	a.events = append(a.events, e)
}

// issuerEvent includes the issuer's URL, because the entry may be deleted.
func issuerEvent(id, issuer string) Event {
	return Event{IssuerID: id, Details: map[string]any{"issuer": issuer}}
}

// writeEvents writes the events at the end of the transaction and stamps them
// with the time of the write: nodes look for an event in the seconds after its
// time (see LateCommit), and this transaction may take longer than that. Each event
// revokes every access token issued before its detail `before`. Such events are
// rare, so Until uses the longest lifetime of any access token.
func (a *applier) writeEvents() error {
	for _, e := range a.events {
		e.At = a.store.Now()
		margin := lastIssue
		if e.Subject != "" || e.IssuerID != "" {
			margin = lastCommit
		}
		before := e.At.Add(margin + time.Second).Truncate(time.Second) // `iat` is in whole seconds
		e.Until = session.RevokedUntil(before, session.MaxAccessTTL)
		e.Details = maps.Clone(e.Details)
		if e.Details == nil {
			e.Details = map[string]any{}
		}
		e.Details["before"] = before.Unix()
		a.store.recent.note(e, e.At)
		if err := insertEvent(a.tx, e); err != nil {
			return err
		}
	}
	return nil
}
