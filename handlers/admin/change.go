package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
	"github.com/latchkey/latchkey/settings/decode"
)

// inTenant is where a tenant with one thing in it has that thing.
func inTenant(tenant string) settings.TenantSpec {
	return settings.TenantSpec{ID: tenant, Place: settings.Place{Path: "tenants[0]", Written: settings.Written{}, Context: true}}
}

// apply applies a document with one thing, which is at `at`, and reports whether it
// was created.
func (s *Service) apply(ctx context.Context, c *Caller, at string, wanted settings.TenantSpec, o models.ApplyOptions) (created bool, err error) {
	tenants := []settings.TenantSpec{wanted}
	if faults := settings.ValidateIDs(tenants); len(faults) > 0 {
		return false, invalidBody(at, faults)
	}
	o.Actor, o.Validate = c.actor(), s.validate
	changes, err := s.Store.Apply(ctx, tenants, s.Keys, o)
	var faults settings.Faults
	if errors.As(err, &faults) {
		return false, invalidBody(at, faults)
	}
	return slices.ContainsFunc(changes, func(c models.Change) bool { return c.Created }), err
}

// remove removes one thing. errNotFound: it does not exist.
func (s *Service) remove(ctx context.Context, c *Caller, wanted []settings.TenantSpec, ref models.Ref, p Precondition) error {
	changes, err := s.Store.Apply(ctx, wanted, s.Keys, models.ApplyOptions{Remove: []models.Ref{ref}, Precondition: p.check, Actor: c.actor(), Validate: s.validate})
	var faults settings.Faults
	switch {
	case errors.As(err, &faults):
		return invalidBody("", faults)
	case err == nil && !slices.ContainsFunc(changes, func(c models.Change) bool { return c.Removed }):
		return errNotFound
	}
	return err
}

// patchAttempts bounds how often a patch is worked out again because what it was
// based on had changed.
const patchAttempts = 5

// patch applies a merge patch (RFC 7396): read returns what is stored and its
// version, and write replaces it if it still has that version. forget are members
// that do not survive a change of another member, unless the patch has them.
func patch(body []byte, p Precondition, forget map[string][]string, read func() (settings.Document, string, error), write func(merged []byte, check func(version string) error) error) error {
	document, err := decode.JSON(body)
	if err != nil {
		return invalid(Fault{Detail: "the body " + err.Error()})
	}
	if faults := document.Check(""); len(faults) > 0 {
		return invalidBody("", faults)
	}
	for range patchAttempts {
		stored, version, err := read()
		if err != nil {
			return err
		}
		if err := p.check(version); err != nil {
			return err
		}
		if stored = maps.Clone(stored); stored == nil {
			stored = settings.Document{}
		}
		for member, others := range forget {
			if _, given := document.Keys()[member]; !given {
				continue
			}
			for _, other := range others {
				delete(stored, other)
			}
		}
		text, err := json.Marshal(stored)
		if err != nil {
			return err
		}
		merged, err := merge(text, body, document.Keys())
		if err != nil {
			return err
		}
		err = write(merged, func(now string) error {
			if now != version {
				return errStale
			}
			return nil
		})
		if !errors.Is(err, errStale) {
			return err
		}
	}
	return conflict("conflict", "It is being changed by others at the same time; try again")
}

// merge applies a merge patch to a document. The members that the patch sets to null
// stay in it as null: what is not in the document, such as a secret, is removed by
// that.
func merge(stored, patch []byte, given map[string]bool) ([]byte, error) {
	text, err := jsonpatch.MergePatch(stored, patch)
	if err != nil {
		return nil, invalid(Fault{Detail: "the body is not a merge patch"})
	}
	merged := settings.Document{}
	if err := json.Unmarshal(text, &merged); err != nil {
		return nil, err
	}
	for member, value := range given {
		if !value {
			merged[member] = json.RawMessage("null")
		}
	}
	return json.Marshal(merged)
}

// page turns the parameters of a list into a page.
func page(cursor string, limit int, match string) (models.Page, error) {
	after, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || !utf8.Valid(after) || slices.Contains(after, 0) {
		return models.Page{}, invalidParameter("cursor", "is not a cursor of this list: send next_cursor of the page before, or leave it out")
	}
	return models.Page{After: string(after), Limit: limit, Match: match}, nil
}

// List is one page of a list.
type List[T any] struct {
	Items      []T    `json:"items" doc:"The page, in a fixed order" nullable:"false"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Send it as cursor to get the next page; absent on the last page"`
}

// listOf returns a page whose last item has the id `last`.
func listOf[T any](items []T, more bool, last string) *List[T] {
	if items == nil {
		items = []T{}
	}
	l := &List[T]{Items: items}
	if more {
		l.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(last))
	}
	return l
}

// moment returns a time of a row for JSON, or nil for NULL.
func moment(t models.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t.Time
}

// managedBy names the owner of a thing's settings; nil: anybody may change them.
func managedBy(file bool) *string {
	if !file {
		return nil
	}
	name := "file"
	return &name
}
