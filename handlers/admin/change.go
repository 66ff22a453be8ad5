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
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
	"github.com/latchkey/latchkey/settings/decode"
)

// apply applies a document with one object, whose path is `at`, and reports whether it
// created the object.
func (s *Service) apply(ctx context.Context, c *Caller, at string, wanted settings.TenantSpec, o models.ApplyOptions) (created bool, err error) {
	tenants := []settings.TenantSpec{wanted}
	if faults := settings.ValidateIDs(tenants); len(faults) > 0 {
		return false, invalidBody(at, faults)
	}
	o.Actor, o.Validate = c.Actor(), s.validate
	changes, err := s.Store.Apply(ctx, tenants, s.Keys, o)
	var faults settings.Faults
	if errors.As(err, &faults) {
		return false, invalidBody(at, faults)
	}
	return slices.ContainsFunc(changes, func(c models.Change) bool { return c.Created }), err
}

// remove removes an object. It returns ErrNotFound if the object does not exist.
func (s *Service) remove(ctx context.Context, c *Caller, wanted []settings.TenantSpec, ref models.Ref, p Precondition) error {
	changes, err := s.Store.Apply(ctx, wanted, s.Keys, models.ApplyOptions{Remove: []models.Ref{ref}, Precondition: p.check, Actor: c.Actor(), Validate: s.validate, ClientNotes: oauth.UnsetClaimNotes})
	var faults settings.Faults
	switch {
	case errors.As(err, &faults):
		return invalidBody("", faults)
	case err == nil && !slices.ContainsFunc(changes, func(c models.Change) bool { return c.Removed }):
		return ErrNotFound
	}
	return err
}

// attempts is how often a change is computed, if each time another request changes the
// resource before the result is written.
const attempts = 5

// contended returns the answer to a change whose last attempt was in vain.
func contended() error {
	return conflict("conflict", "Other requests are changing the resource at the same time; try again")
}

// put replaces the settings of a resource that may need a generated secret. read
// returns the stored version, or "", and the secret to use if the request contains
// none; write replaces the settings if check accepts the version, and returns the
// secret if it used it.
func put(p Precondition, read func() (version, spare string, err error), write func(spare string, check func(version string) error) (created bool, used string, err error)) (created bool, used string, err error) {
	for range attempts {
		version, spare, err := read()
		if err != nil {
			return false, "", err
		}
		created, used, err = write(spare, func(now string) error {
			if spare != "" && now != version {
				return errStale // another request may have stored a secret
			}
			return p.check(now)
		})
		if !errors.Is(err, errStale) {
			return created, used, err
		}
	}
	return false, "", contended()
}

// patch applies a merge patch (RFC 7396). read returns the stored settings and their
// version; write replaces them if check accepts the version. forget maps a member to
// the members that a change of it resets, unless the patch contains them.
func patch(body []byte, p Precondition, forget map[string][]string, read func() (settings.Document, string, error), write func(merged []byte, check func(version string) error) error) error {
	document, err := decode.JSON(body)
	if err != nil {
		return invalid(Fault{Detail: "the body " + err.Error()})
	}
	if faults := document.Check(""); len(faults) > 0 {
		return invalidBody("", faults)
	}
	for range attempts {
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
	return contended()
}

// merge applies a merge patch to a document. A member that the patch sets to null
// becomes null in the result: that also removes a member that the document does not
// contain, such as a secret.
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

// NewPage returns the page for the parameters of a list: the next_cursor of the previous
// page, the maximum number of items, and the text of a search.
func NewPage(cursor string, limit int, match string) (models.Page, error) {
	after, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || !utf8.Valid(after) || slices.Contains(after, 0) {
		return models.Page{}, invalidParameter("cursor", "is not a cursor of this list: send next_cursor of the previous page, or leave it out")
	}
	return models.Page{After: string(after), Limit: limit, Match: match}, nil
}

// List is one page of a list.
type List[T any] struct {
	Items      []T    `json:"items" doc:"The page, in a fixed order" nullable:"false"`
	NextCursor string `json:"next_cursor,omitempty" doc:"The value of cursor for the next page; absent on the last page"`
}

// listOf returns a page. `last` is the id of its last item.
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

// moment returns a time for JSON, or nil if it is zero.
func moment(t models.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t.Time
}

// managedBy returns the value of managed_by: "file", or nil if the file of serve does
// not own the object.
func managedBy(file bool) *string {
	if !file {
		return nil
	}
	name := "file"
	return &name
}
