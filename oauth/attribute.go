package oauth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
)

// counting leaves out of a user's attributes what a trusted issuer entry set
// that is disabled, suspended or removed now, or does not map the name any more.
// It makes no copy where everything counts.
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

// mapped is what the client token says of its user.
func (s *Subject) mapped() models.Mapped { return s.entry.Mapped(s.userAttributes) }

// fitting leaves out attributes that are too long to be stored, and notes their
// names: a user with many groups must be able to sign in.
func (s *Subject) dropTooLong(attributes map[string]any) map[string]any {
	for name, value := range attributes {
		if !models.FitsAttribute(value) {
			delete(attributes, name)
			s.tooLong = append(s.tooLong, name)
		}
	}
	return attributes
}

// unlessTooLong notes an expression that yields too much like one whose result
// cannot be stored; every other failure is passed on.
func (s *Subject) collectTooLong(failed func(name string, err error)) func(name string, err error) {
	return func(name string, err error) {
		if errors.Is(err, errTooMuch) {
			s.tooLong = append(s.tooLong, name)
			return
		}
		failed(name, err)
	}
}

// reportAttributes writes the event about attributes that were left out. The
// answer is decided already: a failure here is a line in the log.
func (s *Server) reportAttributes(ctx context.Context, about *models.Session, now time.Time, names []string) {
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	names = slices.Compact(names)
	e := about.Event(now, models.EventAttributeLeftOut, map[string]any{"attributes": names, "generation": about.Refresh.Generation})
	e.Cause = names
	if err := s.store.AddEvent(ctx, e, "generation"); err != nil {
		s.log.Error("cannot record an event", "error", err)
	}
}
