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

// Every attribute of a user remembers who set it. What an operator set, no
// sign-in changes; what a trusted issuer entry set is that entry's: it counts
// while the entry is enabled and maps the name, and goes when a client token of
// the entry yields nothing for it. Who set what an earlier release stored is
// not known: the next sign-in through an entry that maps the name decides.
const (
	sourceFile     = "file"     // the file of serve
	sourceOperator = "operator" // latchkey apply, the API or the console
	sourceIssuer   = "issuer:"  // followed by the id of the entry's row, and since when it maps the name
)

// IssuerMapping is what an entry maps: for every name since when, in
// microseconds. A name that is taken away and given again begins anew.
type IssuerMapping map[string]int64

// Mapping is what the entry maps now.
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

// AttributeSource is what an attribute remembers that the entry sets now.
func (i TrustedIssuer) AttributeSource(name string) string {
	return sourceIssuer + i.ID + ":" + strconv.FormatInt(i.Mapping()[name], 10)
}

// FromIssuer reports whether a trusted issuer entry set an attribute.
func FromIssuer(source string) bool { return strings.HasPrefix(source, sourceIssuer) }

// Mapped is what a client token says of its user.
type Mapped struct {
	Entry   string            // id of the row of the trusted issuer
	Values  map[string]any    // what the entry's expressions yield
	Sources map[string]string // AttributeSource of every name that the entry maps
}

// Mapped pairs what the entry's expressions yield with its names.
func (i TrustedIssuer) Mapped(values map[string]any) Mapped {
	m := Mapped{Entry: i.ID, Values: values, Sources: map[string]string{}}
	for name, since := range i.Mapping() {
		m.Sources[name] = sourceIssuer + i.ID + ":" + strconv.FormatInt(since, 10)
	}
	return m
}

// UserAttributes are the attributes of a user, and who set each.
type UserAttributes struct {
	Values  map[string]any
	Sources map[string]string
}

// After is what a sign-in makes of the attributes, and the names that it
// removes. The values that it is called on stay as they are.
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

// sameEntry reports whether one entry set both, whenever it mapped them.
func sameEntry(a, b string) bool {
	entry := func(source string) string { return source[:strings.LastIndexByte(source, ':')+1] }
	return FromIssuer(a) && entry(a) == entry(b)
}

// Setters names who set each attribute of a user, for people to read: a trusted
// issuer by its URL, and by its id too where another entry has the same URL.
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

// set names the attributes that an operator sets.
func (u UserAttributes) set(values map[string]any, source string) UserAttributes {
	after := UserAttributes{Overlay(u.Values, values), map[string]string{}}
	maps.Copy(after.Sources, u.Sources)
	if source == sourceFile { // what the file names no more is any operator's again
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

// text is how both are stored.
func (u UserAttributes) text() (values, sources string, err error) {
	if values, err = marshalAttributes(u.Values); err != nil || len(u.Sources) == 0 {
		return values, "{}", err
	}
	text, err := json.Marshal(u.Sources)
	return values, string(text), err
}

// attributesAndSources is the part of a statement that reads both of users as
// one text.
const attributesAndSources = "attributes || attribute_sources"

// parseUserAttributes reads that text.
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

// noteMappings keeps since when the entries of the tenants map each name. It
// comes after every change of them.
func (a *applier) noteMappings(tenants []settings.TenantSpec) error {
	for _, t := range tenants {
		var rows []TrustedIssuer
		if err := a.tx.Where("tenant_id = ? AND removed_at IS NULL", t.ID).Find(&rows).Error; err != nil {
			return err
		}
		for _, row := range rows {
			if err := noteMapping(a.tx, row, a.now); err != nil {
				return err
			}
		}
	}
	return nil
}

func noteMapping(tx *gorm.DB, row TrustedIssuer, now time.Time) error {
	mapped := IssuerMapping{}
	for name := range row.Settings.UserAttributes {
		since, known := row.MappedSince[name]
		switch {
		case known:
			mapped[name] = since
		case row.MappedSince == nil: // nothing was noted yet
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
	return err != nil || len(text) <= MaxAttribute // what JSON cannot hold is refused with its own error
}
