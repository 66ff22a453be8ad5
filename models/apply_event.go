package models

import (
	"maps"
	"time"

	"github.com/latchkey/latchkey/session"
)

const (
	// lastIssue is how long after a client or tenant was switched off a node may
	// still issue its tokens: it learns of it within 5 s, and a request that is
	// under way then ends within 10.
	lastIssue = 15 * time.Second
	// lastCommit is the same of issuers and users, which the statements that
	// issue ask for themselves: as long as a commit may take.
	lastCommit = 2 * time.Second
)

// event keeps an event of something whole that ends, for tell.
func (a *applier) event(tenant string, what EventType, e Event) {
	e.TenantID, e.Type = tenant, what
	a.ended = append(a.ended, e)
}

// issuerEvent names the issuer by its URL too: the entry may go.
func issuerEvent(id, issuer string) Event {
	return Event{IssuerID: id, Details: map[string]any{"issuer": issuer}}
}

// tell writes the events last of all and at their own moment: nodes look for
// an event in the seconds after its moment (Tail), and a transaction of this
// kind may take longer than that. Every access token issued before `before` is
// revoked. There are few such events, so that the longest life there is will do.
func (a *applier) tell() error {
	for _, e := range a.ended {
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
