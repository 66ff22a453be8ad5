package oauth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
)

// activeAttributes returns the attributes of a user without those of a trusted
// issuer entry that is disabled, suspended or removed, or that no longer maps
// the name. It returns the map itself, without copying it, if every attribute
// is active.
func (t *Tenant) activeAttributes(attributes map[string]any, sources map[string]string) map[string]any {
	var left map[string]any
	for name, source := range sources {
		if !models.FromIssuer(source) || slices.Contains(t.attributeSources[name], source) {
			continue
		}
		if left == nil {
			left = models.Overlay(attributes, map[string]any{name: nil})
		}
		delete(left, name)
	}
	if left == nil {
		return attributes
	}
	return left
}

// mapped returns what the client token states about its user.
func (s *Subject) mapped() models.Mapped { return s.entry.Mapped(s.userAttributes) }

// dropTooLong removes attributes that are too long to be stored and records
// their names. It does not reject the token, because a user with many groups
// must be able to sign in.
func (s *Subject) dropTooLong(attributes map[string]any) map[string]any {
	for name, value := range attributes {
		if !models.FitsAttribute(value) {
			delete(attributes, name)
			s.tooLong = append(s.tooLong, name)
		}
	}
	return attributes
}

// collectTooLong returns a callback that treats an expression whose result is
// too large like an attribute that is too long to be stored. It passes every
// other error to failed.
func (s *Subject) collectTooLong(failed func(name string, err error)) func(name string, err error) {
	return func(name string, err error) {
		if errors.Is(err, expr.ErrTooMuch) {
			s.tooLong = append(s.tooLong, name)
			return
		}
		failed(name, err)
	}
}

// reportAttributes records an event about attributes that were left out. The
// response is already decided, so a failure to record the event is only logged.
func (s *Server) reportAttributes(ctx context.Context, row *models.Session, now time.Time, names []string) {
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	names = slices.Compact(names)
	e := row.Event(now, models.EventAttributeLeftOut, map[string]any{"attributes": names, "generation": row.Refresh.Generation})
	e.Cause = names
	if err := s.store.AddEvent(ctx, e, "generation"); err != nil {
		s.log.Error("cannot record an event", "error", err)
	}
}
