package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/settings"
)

// File identifies a version of a configuration file.
type File struct {
	Revision int64    // 0: none
	Digest   string   // of FileContent
	Known    []string // digests of the same content under each accepted root secret
}

// matches reports whether the file has the same content as the stored one.
func (f File) matches(stored storedFile) bool { return slices.Contains(f.Known, stored.Digest) }

// storedFile is the version of the file that was applied last.
type storedFile struct {
	Revision int64  `json:"revision,omitempty"`
	Digest   string `json:"digest,omitempty"`
}

// FileContent returns the configuration of the tenants in a form that does not
// depend on how the file is written. It contains secrets, so only a keyed
// digest of it may be stored.
func FileContent(tenants []settings.TenantSpec) ([]byte, error) {
	type object struct {
		settings.Document
		Also any
	}
	content := map[string]any{}
	var errs []error
	document := func(fields any, p settings.Place, also any) object {
		doc, err := settings.NewDocument(fields, p.Written)
		errs = append(errs, err)
		return object{doc, also}
	}
	for _, t := range tenants {
		content[t.ID] = document(t, t.Place, nil)
		for _, c := range t.Clients {
			content[t.ID+" client "+c.ID] = document(c.ClientSettings, c.Place, []string{c.Secret, c.PreviousSecret})
		}
		for _, e := range t.TrustedIssuers {
			content[t.ID+" issuer "+e.EntryID()] = document(e.IssuerSettings, e.Place, e.Keys.SharedSecret)
		}
		for _, u := range t.Users {
			content[t.ID+" user "+u.Sub] = object{nil, []any{u.Attributes, u.Disabled}}
		}
		for _, d := range t.EventDestinations {
			content[t.ID+" destination "+d.ID] = document(d.DestinationSettings, d.Place, d.Secret)
		}
	}
	text, err := json.Marshal(content)
	return text, errors.Join(append(errs, err)...)
}

// Started is the result of Start.
type Started struct {
	Changes  []Change
	Default  bool     // the only change is a new tenant "default", because there was none
	Released []string // objects that the file owned and no longer names
	Ignored  string   // why the file was not applied; empty if it was
	Notice   string   // a warning about a file that was applied
}

// Start applies the file of serve. Every object that the file names becomes as
// the file describes it, and the file owns it; objects that the file owned and
// no longer names are released. A file with an older revision is ignored. Nodes
// that start at the same time run Start one after the other.
func (s *Store) Start(ctx context.Context, tenants []settings.TenantSpec, mode string, f File, secrets Secrets, validate func([]settings.TenantSpec) settings.Faults) (*Started, error) {
	return s.start(ctx, tenants, mode, f, secrets, validate, false)
}

// PlanStart returns what Start would do, without changing anything.
func (s *Store) PlanStart(ctx context.Context, tenants []settings.TenantSpec, mode string, f File, secrets Secrets, validate func([]settings.TenantSpec) settings.Faults) (*Started, error) {
	return s.start(ctx, tenants, mode, f, secrets, validate, true)
}

func (s *Store) start(ctx context.Context, tenants []settings.TenantSpec, mode string, f File, secrets Secrets, validate func([]settings.TenantSpec) settings.Faults, dryRun bool) (*Started, error) {
	var done *Started
	err := s.longTransaction(ctx, func(tx *gorm.DB) (err error) {
		if done, err = s.startIn(tx, tenants, mode, f, secrets, validate); err == nil && dryRun {
			return errDryRun
		}
		return err
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return nil, err
	}
	return done, nil
}

func (s *Store) startIn(tx *gorm.DB, tenants []settings.TenantSpec, mode string, f File, secrets Secrets, validate func([]settings.TenantSpec) settings.Faults) (*Started, error) {
	done := &Started{}
	stored, err := s.lockFile(tx)
	if err != nil {
		return nil, err
	}
	var count int64
	if err := tx.Raw("SELECT count(*) FROM tenants").Scan(&count).Error; err != nil {
		return nil, err
	}
	if mode != settings.StartApply { // the file owns nothing, whatever its revision
		if done.Released, err = setOwned(tx, nil); err != nil || count > 0 {
			return done, err
		}
	}
	if mode != settings.StartOff { // StartOff applies no file, so no revision prevents it
		if done.Ignored, done.Notice = stored.compare(f); done.Ignored != "" {
			return done, nil
		}
	}
	wanted := tenants
	if mode == settings.StartOff {
		wanted = nil
	}
	if done.Default = len(wanted) == 0 && count == 0; done.Default {
		wanted = []settings.TenantSpec{{ID: settings.DefaultTenant}}
	}
	a := applier{tx: tx, store: s, secrets: secrets, now: s.Now(), source: sourceOperator,
		o: ApplyOptions{Replace: true, ServeFile: mode == settings.StartApply, Validate: validate, Actor: FileActor}}
	if a.o.ServeFile {
		a.source = sourceFile
	}
	if err := a.apply(settings.Located(wanted)); err != nil {
		return nil, err
	}
	done.Changes = a.changes
	if mode == settings.StartOff {
		return done, nil
	}
	if mode == settings.StartApply {
		if done.Released, err = setOwned(tx, tenants); err != nil {
			return nil, err
		}
	}
	return done, storeFile(tx, f)
}

// compare decides whether f may replace the file that was applied last. ignored
// is the reason why not; notice is a warning about a file that may.
func (stored storedFile) compare(f File) (ignored, notice string) {
	switch {
	case stored.Revision > 0 && f.Revision == 0:
		return fmt.Sprintf("it has no revision, and revision %d was applied last: %s", stored.Revision, stored.remedy()), ""
	case f.Revision < stored.Revision:
		return fmt.Sprintf("its revision is %d, and revision %d was applied last: %s", f.Revision, stored.Revision, stored.remedy()), ""
	case f.Revision > stored.Revision || stored.Digest == "" || f.matches(stored):
		return "", ""
	case f.Revision > 0:
		return fmt.Sprintf("revision %d was applied last with other content: %s", f.Revision, stored.remedy()), ""
	default:
		return "", "the file differs from the one that was applied last; give it a revision so that a node with an older file cannot undo it"
	}
}

// remedy returns what to do about a file that its revision keeps from being
// applied.
func (stored storedFile) remedy() string {
	const reset = `run "latchkey apply --reset-revision" with this file`
	if stored.Revision >= settings.MaxRevision {
		return "no file can have a higher one, so " + reset
	}
	return fmt.Sprintf("give this file a higher one if it is newer; if revision %d was a mistake, %s", stored.Revision, reset)
}

// fileSetting is the name of the row of settings that holds the storedFile.
const fileSetting = "file"

// lockFile reads which file was applied last, and locks that row until the
// transaction ends.
func (s *Store) lockFile(tx *gorm.DB) (stored storedFile, err error) {
	if err := tx.Exec("INSERT INTO settings (name, value) VALUES (?, '{}') ON CONFLICT DO NOTHING", fileSetting).Error; err != nil {
		return stored, err
	}
	var text string
	if err := tx.Raw("SELECT value FROM settings WHERE name = ?"+s.dialect.forUpdate, fileSetting).Row().Scan(&text); err != nil {
		return stored, err
	}
	return stored, json.Unmarshal([]byte(text), &stored)
}

func storeFile(tx *gorm.DB, f File) error {
	text, err := json.Marshal(storedFile{f.Revision, f.Digest})
	if err != nil {
		return err
	}
	return tx.Exec("UPDATE settings SET value = ? WHERE name = ?", string(text), fileSetting).Error
}

// storeRevision stores the revision of a file that was given to apply if it is
// higher than the stored one, and returns that change. A file without a
// revision changes nothing.
func (s *Store) storeRevision(tx *gorm.DB, f *File) (raised []Change, err error) {
	if f == nil || f.Revision == 0 {
		return nil, nil
	}
	stored, err := s.lockFile(tx)
	if err != nil || f.Revision <= stored.Revision {
		return nil, err
	}
	c := Change{Kind: kindFile, Fields: []FieldChange{{Name: "revision", To: fmt.Sprint(f.Revision)}}}
	if stored.Revision > 0 {
		c.Fields[0].From = fmt.Sprint(stored.Revision)
	}
	c.Notes = []string{fmt.Sprintf(`from now on "latchkey serve" does not apply a file whose revision is lower than %d, or that has none`, f.Revision)}
	if f.Revision == settings.MaxRevision {
		c.Notes = append(c.Notes, "no file can have a higher revision than this one")
	}
	return []Change{c}, storeFile(tx, *f)
}

// ResetFile records f as the file that was applied last, for a file that
// another revision keeps from being applied. The next start applies the file;
// until then nothing else changes. ResetFile returns the previous revision and
// why the file was not applied, which is empty if nothing prevented it.
func (s *Store) ResetFile(ctx context.Context, f File, dryRun bool) (before int64, ignored string, err error) {
	err = s.transaction(ctx, func(tx *gorm.DB) error {
		stored, err := s.lockFile(tx)
		if err != nil {
			return err
		}
		before = stored.Revision
		switch ignored, _ = stored.compare(f); {
		case dryRun:
			return errDryRun
		case ignored == "":
			return nil
		}
		return storeFile(tx, f)
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	return before, ignored, err
}

// setOwned makes the file of serve own exactly the objects of tenants. It
// returns those that the file owned before and no longer names.
func setOwned(tx *gorm.DB, tenants []settings.TenantSpec) (released []string, err error) {
	before, err := ownedByFile(tx, "")
	if err != nil {
		return nil, err
	}
	now := map[Ref]bool{}
	for _, t := range tenants {
		for _, ref := range refsIn(t) {
			now[ref] = true
			if before[ref] {
				continue
			}
			if err := tx.Exec("INSERT INTO file_nouns (tenant_id, noun, id) VALUES (?, ?, ?)", ref.Tenant, ref.Kind, ref.ID).Error; err != nil {
				return nil, err
			}
		}
	}
	for ref := range before {
		if now[ref] {
			continue
		}
		if err := tx.Exec("DELETE FROM file_nouns WHERE tenant_id = ? AND noun = ? AND id = ?", ref.Tenant, ref.Kind, ref.ID).Error; err != nil {
			return nil, err
		}
		released = append(released, ref.String())
	}
	slices.Sort(released)
	return released, nil
}

// String returns the object in words, such as "client web of tenant default".
func (r Ref) String() string {
	if r.Kind == KindTenant {
		return "tenant " + r.ID
	}
	return fmt.Sprintf("%s %s of tenant %s", r.Kind, r.ID, r.Tenant)
}

// refsIn lists the tenant and every object in it, each once.
func refsIn(t settings.TenantSpec) []Ref {
	refs := []Ref{{KindTenant, t.ID, t.ID}}
	for _, c := range t.Clients {
		refs = append(refs, Ref{KindClient, t.ID, c.ID})
	}
	for _, e := range t.TrustedIssuers {
		refs = append(refs, Ref{KindIssuer, t.ID, e.EntryID()})
	}
	for _, u := range t.Users {
		refs = append(refs, Ref{KindUser, t.ID, u.Sub})
	}
	for _, d := range t.EventDestinations {
		refs = append(refs, Ref{KindDestination, t.ID, d.ID})
	}
	return refs
}

// ownedByFile reads which objects the file of serve owns, in one tenant or, if
// tenant is empty, in all.
func ownedByFile(tx *gorm.DB, tenant string) (map[Ref]bool, error) {
	var refs []struct{ TenantID, Noun, ID string } // named like the columns
	err := tx.Raw("SELECT tenant_id, noun, id FROM file_nouns WHERE tenant_id = ? OR ? = ''", tenant, tenant).Scan(&refs).Error
	owned := map[Ref]bool{}
	for _, r := range refs {
		owned[Ref{r.Noun, r.TenantID, r.ID}] = true
	}
	return owned, err
}

// Owned reports whether the file of serve owns any object that tenants name.
func (s *Store) Owned(ctx context.Context, tenants []settings.TenantSpec) (bool, error) {
	var owned map[Ref]bool
	err := s.query(ctx, func(db *gorm.DB) (err error) {
		owned, err = ownedByFile(db, "")
		return err
	})
	return slices.ContainsFunc(tenants, func(t settings.TenantSpec) bool {
		return slices.ContainsFunc(refsIn(t), func(ref Ref) bool { return owned[ref] })
	}), err
}

// ManagedByFile reports whether the file of serve owns the object. If it does,
// nothing else may change the object's settings.
func (s *Store) ManagedByFile(ctx context.Context, ref Ref) (bool, error) {
	var n int
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT count(*) FROM file_nouns WHERE tenant_id = ? AND noun = ? AND id = ?", ref.Tenant, ref.Kind, ref.ID).Row().Scan(&n)
	})
	return n > 0, err
}

const managedByFile = `is managed by the file of "latchkey serve": change it there and restart a node; "latchkey suspend" switches it off at once`

// rejectOwned adds a fault for every object that the file of serve owns and
// that the document names or would remove.
func (a *applier) rejectOwned(p *tenantPlan, written settings.Document) error {
	if a.o.ServeFile {
		return nil
	}
	owned, err := ownedByFile(a.tx, p.want.ID)
	if err != nil || len(owned) == 0 {
		return err
	}
	refuse := func(kind, id, path string) {
		if owned[Ref{kind, p.want.ID, id}] {
			a.faults = append(a.faults, settings.Fault{Path: path, Problem: managedByFile, Code: settings.FaultManagedByFile})
		}
	}
	if !p.want.Context && (len(written) > 0 || a.o.Replace) { // otherwise the document only names it as the place of the rest
		refuse(KindTenant, p.want.ID, p.want.Path)
	}
	for _, c := range p.want.Clients {
		refuse(KindClient, c.ID, c.Path)
	}
	for _, e := range p.want.TrustedIssuers {
		refuse(KindIssuer, e.EntryID(), e.Path)
	}
	for _, u := range p.want.Users {
		refuse(KindUser, u.Sub, u.Path)
	}
	for _, d := range p.want.EventDestinations {
		refuse(KindDestination, d.ID, d.Path)
	}
	for _, d := range p.earlier.EventDestinations {
		if a.removes(Ref{KindDestination, p.want.ID, d.ID}) {
			refuse(KindDestination, d.ID, d.Path)
		}
	}
	for _, c := range p.earlier.Clients {
		if a.removes(Ref{KindClient, p.want.ID, c.ID}) {
			refuse(KindClient, c.ID, c.Path)
		}
	}
	for _, e := range p.earlier.TrustedIssuers {
		if a.removes(Ref{KindIssuer, p.want.ID, e.ID}) {
			refuse(KindIssuer, e.ID, e.Path)
		}
	}
	return nil
}

// FileOwned returns at most limit objects of a tenant that the file of serve owns, in
// the order of their kinds and ids.
func (s *Store) FileOwned(ctx context.Context, tenant string, limit int) ([]Ref, error) {
	var rows []struct{ Noun, ID string } // named like the columns
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT noun, id FROM file_nouns WHERE tenant_id = ? ORDER BY noun, id LIMIT ?", tenant, limit).Scan(&rows).Error
	})
	refs := make([]Ref, len(rows))
	for i, r := range rows {
		refs[i] = Ref{r.Noun, tenant, r.ID}
	}
	return refs, err
}
