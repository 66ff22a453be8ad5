package models

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/settings"
)

// Every attribute of a user records its source. A sign-in does not change an
// attribute that an operator set. An attribute that a trusted issuer entry set
// belongs to that entry: it counts while the entry is enabled and maps the name,
// and it is removed when a client token of the entry yields no value for it. The
// source of an attribute that an earlier release stored is unknown; the next
// sign-in through an entry that maps the name decides.
const (
	sourceFile     = "file"     // the file of serve
	sourceOperator = "operator" // latchkey apply, the API or the console
	sourceIssuer   = "issuer:"  // followed by the row id of the entry and since when it maps the name
)

// IssuerMapping records since when an entry maps each name, in microseconds. A
// name that is removed and added again starts over.
type IssuerMapping map[string]int64

// Mapping returns the current mapping of the entry.
func (i TrustedIssuer) Mapping() IssuerMapping {
	m := IssuerMapping{}
	for name := range i.Settings.UserAttributes {
		since, known := i.MappedSince[name]
		if !known {
			since = i.CreatedAt.UnixMicro()
		}
		m[name] = since
	}
	return m
}

// AttributeSource returns the source of an attribute that the entry sets now.
func (i TrustedIssuer) AttributeSource(name string) string {
	return sourceIssuer + i.ID + ":" + strconv.FormatInt(i.Mapping()[name], 10)
}

// FromIssuer reports whether a trusted issuer entry set an attribute.
func FromIssuer(source string) bool { return strings.HasPrefix(source, sourceIssuer) }

// Mapped is what a client token contributes to the attributes of its user.
type Mapped struct {
	Entry   string            // row id of the trusted issuer
	Values  map[string]any    // results of the entry's expressions
	Sources map[string]string // AttributeSource of every name that the entry maps
}

// Mapped combines the results of the entry's expressions with its mapping.
func (i TrustedIssuer) Mapped(values map[string]any) Mapped {
	m := Mapped{Entry: i.ID, Values: values, Sources: map[string]string{}}
	for name, since := range i.Mapping() {
		m.Sources[name] = sourceIssuer + i.ID + ":" + strconv.FormatInt(since, 10)
	}
	return m
}

// UserAttributes are the attributes of a user and the source of each.
type UserAttributes struct {
	Values  map[string]any
	Sources map[string]string
}

// After returns the attributes after a sign-in, and the names of those that the
// sign-in removes. It does not change u.
func (u UserAttributes) After(m Mapped) (after UserAttributes, removed []string) {
	if m.Entry == "" {
		return u, nil
	}
	after = UserAttributes{map[string]any{}, map[string]string{}}
	maps.Copy(after.Values, u.Values)
	maps.Copy(after.Sources, u.Sources)
	for name, source := range m.Sources {
		if before := u.Sources[name]; before == sourceFile || before == sourceOperator {
			continue
		}
		_, stored := u.Values[name]
		if value, yields := m.Values[name]; yields {
			after.Values[name], after.Sources[name] = value, source
		} else if stored && (u.Sources[name] == "" || sameEntry(u.Sources[name], source)) {
			delete(after.Values, name)
			delete(after.Sources, name)
			removed = append(removed, name)
		}
	}
	for name, source := range u.Sources {
		if _, mapped := m.Sources[name]; !mapped && sameEntry(source, sourceIssuer+m.Entry+":") {
			delete(after.Values, name)
			delete(after.Sources, name)
			removed = append(removed, name)
		}
	}
	slices.Sort(removed)
	return after, removed
}

// sameEntry reports whether one entry set both, regardless of when it mapped
// them.
func sameEntry(a, b string) bool {
	entry := func(source string) string { return source[:strings.LastIndexByte(source, ':')+1] }
	return FromIssuer(a) && entry(a) == entry(b)
}

// Setters describes the source of each attribute of a user for people to read.
// It names a trusted issuer by its URL, and by its id too if another entry has
// the same URL.
func (s *Store) Setters(ctx context.Context, u *User) (setters map[string]string, err error) {
	var entries []TrustedIssuer
	err = s.query(ctx, func(db *gorm.DB) (err error) {
		entries, err = (&applier{tx: db, store: s}).allEntries(u.TenantID)
		return err
	})
	urls := map[string]int{}
	for _, e := range entries {
		urls[e.Settings.Issuer]++
	}
	setters = map[string]string{}
	for name := range u.Attributes {
		source := u.Sources[name]
		switch at := slices.IndexFunc(entries, func(e TrustedIssuer) bool { return sameEntry(source, sourceIssuer+e.ID+":") }); {
		case source == "":
			setters[name] = "not known"
		case !FromIssuer(source):
			setters[name] = source
		case at < 0:
			setters[name] = "an issuer that was removed"
		default:
			e := entries[at]
			setters[name] = "issuer " + e.Settings.Issuer
			if urls[e.Settings.Issuer] > 1 {
				setters[name] += " (" + e.EntryID + ")"
			}
		}
	}
	return setters, err
}

// set returns the attributes after an operator has set values.
func (u UserAttributes) set(values map[string]any, source string) UserAttributes {
	after := UserAttributes{Overlay(u.Values, values), map[string]string{}}
	maps.Copy(after.Sources, u.Sources)
	if source == sourceFile { // any operator may change what the file no longer names
		for name, by := range after.Sources {
			if by == sourceFile {
				after.Sources[name] = sourceOperator
			}
		}
	}
	for name := range values {
		if source == sourceFile || after.Sources[name] != sourceFile {
			after.Sources[name] = source
		}
	}
	return after
}

// text returns the attributes and their sources as they are stored.
func (u UserAttributes) text() (values, sources string, err error) {
	if values, err = marshalAttributes(u.Values); err != nil || len(u.Sources) == 0 {
		return values, "{}", err
	}
	text, err := json.Marshal(u.Sources)
	return values, string(text), err
}

// attributesAndSources is an SQL expression that reads both columns of users as
// one text.
const attributesAndSources = "attributes || attribute_sources"

// parseUserAttributes parses that text.
func parseUserAttributes(text string) (u UserAttributes, err error) {
	if values, none := strings.CutSuffix(text, "{}"); none && values != "" {
		return u, unmarshalObject(values, &u.Values)
	}
	if text == "" {
		return u, nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	var values json.RawMessage
	if err := d.Decode(&values); err != nil {
		return u, err
	}
	if err := d.Decode(&u.Sources); err != nil {
		return u, err
	}
	return u, unmarshalObject(string(values), &u.Values)
}

// recordMappings records since when the entries of the tenants map each name.
// It runs after all changes of the entries.
func (a *applier) recordMappings(tenants []settings.TenantSpec) error {
	for _, t := range tenants {
		var rows []TrustedIssuer
		if err := a.tx.Where("tenant_id = ? AND removed_at IS NULL", t.ID).Find(&rows).Error; err != nil {
			return err
		}
		for _, row := range rows {
			if err := recordMapping(a.tx, row, a.now); err != nil {
				return err
			}
		}
	}
	return nil
}

func recordMapping(tx *gorm.DB, row TrustedIssuer, now time.Time) error {
	mapped := IssuerMapping{}
	for name := range row.Settings.UserAttributes {
		since, known := row.MappedSince[name]
		switch {
		case known:
			mapped[name] = since
		case row.MappedSince == nil: // nothing is recorded yet
			mapped[name] = row.CreatedAt.UnixMicro()
		default:
			mapped[name] = now.UnixMicro()
		}
	}
	if row.MappedSince != nil && maps.Equal(mapped, row.MappedSince) {
		return nil
	}
	text, err := json.Marshal(mapped)
	if err != nil {
		return err
	}
	return tx.Exec("UPDATE trusted_issuers SET mapped_since = ? WHERE tenant_id = ? AND id = ?", string(text), row.TenantID, row.ID).Error
}

// FitsAttribute reports whether a value is short enough to be one attribute.
func FitsAttribute(value any) bool {
	text, err := json.Marshal(value)
	return err != nil || len(text) <= MaxAttribute // a value that JSON cannot hold is rejected later, with its own error
}
