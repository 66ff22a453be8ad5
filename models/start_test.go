package models_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

func version(revision int64, content string) models.File {
	return models.File{Revision: revision, Digest: content, Known: []string{content}}
}

func (w *fixture) start(f models.File, tenants ...settings.TenantSpec) *models.Started {
	w.Helper()
	started, err := w.Start(w.Context(), tenants, settings.StartApply, f, secrets{}, func(t []settings.TenantSpec) settings.Faults { return settings.ValidateTenants(t, "") })
	must(w, err)
	return started
}

func TestStartAppliesAFileUnlessALaterOneWasApplied(t *testing.T) {
	const remedy = "give this file a higher one if it is newer; if revision 3 was a mistake, run \"latchkey apply --reset-revision\" with this file"
	for name, c := range map[string]struct {
		before, now     models.File
		ignored, notice string
	}{
		"the first file":                  {models.File{}, version(0, "a"), "", ""},
		"the same without a revision":     {version(0, "a"), version(0, "a"), "", ""},
		"another without a revision":      {version(0, "a"), version(0, "b"), "", "differs from the one that was applied last"},
		"the first revision":              {version(0, "a"), version(1, "b"), "", ""},
		"the same revision and content":   {version(3, "a"), version(3, "a"), "", ""},
		"a higher revision":               {version(3, "a"), version(4, "b"), "", ""},
		"a higher revision, same content": {version(3, "a"), version(4, "a"), "", ""},
		"a lower revision":                {version(3, "a"), version(2, "b"), "its revision is 2, and revision 3 was applied last: " + remedy, ""},
		"a lower revision, same content":  {version(3, "a"), version(2, "a"), "its revision is 2, and revision 3 was applied last: " + remedy, ""},
		"the same revision, other content": {version(3, "a"), version(3, "b"),
			"revision 3 was applied last with other content: " + remedy, ""},
		"no revision where there was one": {version(3, "a"), version(0, "a"), "it has no revision, and revision 3 was applied last: " + remedy, ""},
		"a revision below the highest": {version(settings.MaxRevision, "a"), version(4, "b"),
			"its revision is 4, and revision 9007199254740991 was applied last: no file can have a higher one, so run \"latchkey apply --reset-revision\" with this file", ""},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				spec := tenant()
				if c.before.Digest != "" {
					w.start(c.before, spec)
				}
				spec.Clients[0].Name = "Web"
				started := w.start(c.now, spec)
				if started.Ignored != c.ignored || (started.Notice == "") != (c.notice == "") || !strings.Contains(started.Notice, c.notice) {
					t.Errorf("ignored %q, notice %q; want %q and %q", started.Ignored, started.Notice, c.ignored, c.notice)
				}
				if applied := w.config().Clients[1].Settings.Name == "Web"; applied != (c.ignored == "") {
					t.Errorf("applied: %v", applied)
				}
			})
		})
	}
}

// An emergency change must not be undone by the restart of a node whose file
// is older, so what that file owns is changed there, or suspended.
func TestApplyRejectsWhatTheFileOfServeOwns(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		file := tenant()
		file.Users = []settings.UserSpec{{Sub: "alice"}}
		w.start(version(0, "a"), file)
		off := settings.TenantSpec{ID: acme,
			Clients:        []settings.ClientSpec{{ID: "web", ClientSettings: settings.ClientSettings{Disabled: true}}, {ID: "extra", ClientSettings: settings.ClientSettings{Auth: settings.AuthNone}}},
			TrustedIssuers: []settings.IssuerSpec{{ID: "auth-example-com", IssuerSettings: settings.IssuerSettings{Disabled: true}}},
			Users:          []settings.UserSpec{{Sub: "alice", Disabled: true}},
		}
		_, err := w.Apply(t.Context(), []settings.TenantSpec{off}, secrets{}, models.ApplyOptions{})
		var faults settings.Faults
		if !errors.As(err, &faults) || len(faults) != 3 {
			t.Fatalf("applied with %v", err)
		}
		for i, of := range []string{"client web", "trusted issuer auth-example-com", "user alice"} {
			if faults[i].Of != of || !strings.Contains(faults[i].Problem, `is managed by the file of "latchkey serve"`) {
				t.Errorf("fault %d: %s", i, faults[i])
			}
		}
		if c := w.config(); c.Clients[1].Disabled || len(c.Clients) != 2 {
			t.Errorf("a refused file has changed something: %+v", c.Clients)
		}
		for name, o := range map[string]models.ApplyOptions{"its own settings": {Replace: true}, "pruning": {Prune: true}} {
			if _, err := w.Apply(t.Context(), []settings.TenantSpec{{ID: acme}}, secrets{}, o); err == nil {
				t.Errorf("%s of an owned tenant is not refused", name)
			}
		}
		// The tenant is only where the new client belongs.
		off.Clients, off.TrustedIssuers, off.Users = off.Clients[1:], nil, nil
		if _, err := w.Apply(t.Context(), []settings.TenantSpec{off}, secrets{}, models.ApplyOptions{}); err != nil {
			t.Error(err)
		}
		owned, err := w.ManagedByFile(t.Context(), models.Ref{Kind: models.KindClient, Tenant: acme, ID: "web"})
		if must(t, err); !owned {
			t.Error("the client is not managed by the file")
		}
	})
}

func TestStartReleasesWhatTheFileNoLongerNames(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		file := tenant()
		w.start(version(0, "a"), file)
		file.Clients = file.Clients[1:]
		if started := w.start(version(0, "b"), file); strings.Join(started.Released, ", ") != "client web of tenant default" {
			t.Errorf("released %q", started.Released)
		}
		web := settings.TenantSpec{ID: acme, Clients: []settings.ClientSpec{{ID: "web", ClientSettings: settings.ClientSettings{Disabled: true}}}}
		if _, err := w.Apply(t.Context(), []settings.TenantSpec{web}, secrets{}, models.ApplyOptions{}); err != nil {
			t.Error(err)
		}
		started, err := w.Start(t.Context(), []settings.TenantSpec{file}, settings.StartOff, version(0, "b"), secrets{}, unchecked)
		must(t, err)
		if len(started.Released) != 3 || len(started.Changes) != 0 {
			t.Errorf("with off it changes %s and releases %q", printed(started.Changes), started.Released)
		}
		if c := w.config(); !c.Clients[1].Disabled {
			t.Error("a released client was changed at start")
		}
	})
}

func unchecked([]settings.TenantSpec) settings.Faults { return nil }

func TestApplyRaisesTheStoredRevision(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.start(version(3, "a"), settings.TenantSpec{ID: "other"})
		raised := version(5, "c")
		_, err := w.Apply(t.Context(), nil, secrets{}, models.ApplyOptions{File: &raised})
		must(t, err)
		if started := w.start(version(4, "b"), tenant()); started.Ignored == "" {
			t.Error("a lower revision than apply had is applied")
		}
		lower := version(4, "b")
		_, err = w.Apply(t.Context(), nil, secrets{}, models.ApplyOptions{File: &lower})
		must(t, err)
		if started := w.start(version(5, "c"), tenant()); started.Ignored != "" {
			t.Errorf("a lower revision has been stored: %s", started.Ignored)
		}
	})
}

func TestApplyWarnsWhenItRaisesTheRevision(t *testing.T) {
	const warning = "    ! from now on \"latchkey serve\" does not apply a file whose revision is lower than %s, or that has none\n"
	each(t, func(t *testing.T, w *fixture) {
		raise := func(revision int64, o models.ApplyOptions, want string) {
			t.Helper()
			f := version(revision, "c")
			o.File = &f
			changes, err := w.Apply(t.Context(), nil, secrets{}, o)
			must(t, err)
			if got := printed(changes); got != want {
				t.Errorf("revision %d prints\n%s\nwant\n%s", revision, got, want)
			}
		}
		first := "~ file\n    revision: 3\n" + strings.Replace(warning, "%s", "3", 1)
		raise(3, models.ApplyOptions{DryRun: true}, first)
		raise(3, models.ApplyOptions{}, first)
		raise(3, models.ApplyOptions{}, "")
		raise(2, models.ApplyOptions{}, "")
		raise(0, models.ApplyOptions{}, "")
		raise(settings.MaxRevision, models.ApplyOptions{}, "~ file\n    revision: 3 → 9007199254740991\n"+
			strings.Replace(warning, "%s", "9007199254740991", 1)+"    ! no file can have a higher revision than this one\n")
	})
}

func TestAResetLetsStartApplyTheFileAgain(t *testing.T) {
	for name, file := range map[string]models.File{"a lower revision": version(7, "own"), "no revision": version(0, "own"), "the same revision": version(1<<62, "own")} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				spec := tenant()
				w.start(version(6, "before"), spec)
				typo := version(1<<62, "typo") // as an earlier release took it
				_, err := w.Apply(t.Context(), nil, secrets{}, models.ApplyOptions{File: &typo})
				must(t, err)
				spec.Clients[0].Name = "Web"
				for _, dryRun := range []bool{true, true, false} {
					if w.start(file, spec).Ignored == "" || w.config().Clients[1].Settings.Name != "" {
						t.Fatal("the file is applied before the reset")
					}
					before, ignored, err := w.ResetFile(t.Context(), file, dryRun)
					if before != 1<<62 || ignored == "" || err != nil {
						t.Errorf("reset from %d because %q, %v", before, ignored, err)
					}
				}
				if w.config().Clients[1].Settings.Name != "" {
					t.Error("the reset changes a client")
				}
				if before, ignored, err := w.ResetFile(t.Context(), file, false); before != file.Revision || ignored != "" || err != nil {
					t.Errorf("reset again from %d because %q, %v", before, ignored, err)
				}
				if started := w.start(file, spec); started.Ignored != "" || w.config().Clients[1].Settings.Name != "Web" {
					t.Errorf("after the reset the file is ignored: %s", started.Ignored)
				}
				if file.Revision > 0 && w.start(version(file.Revision-1, "older"), tenant()).Ignored == "" {
					t.Error("an older file is applied after the reset")
				}
			})
		})
	}
}

func TestOfTwoFilesAtOnceTheHigherRevisionStays(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		older, newer := tenant(), tenant()
		older.Clients[0].Name, newer.Clients[0].Name = "older", "newer"
		nodes := []*models.Store{w.Store, w.another(models.Options{})}
		together(8, func(i int) {
			spec, f := older, version(1, "older")
			if i%2 == 0 {
				spec, f = newer, version(2, "newer")
			}
			if _, err := nodes[i/2%2].Start(w.Context(), []settings.TenantSpec{spec}, settings.StartApply, f, secrets{}, unchecked); err != nil {
				t.Error(err)
			}
		})
		if name := w.config().Clients[1].Settings.Name; name != "newer" {
			t.Errorf("the client is that of the %s file", name)
		}
	})
}

func TestStartOnceFillsAnEmptyDatabaseAndOwnsNothing(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		changed := tenant()
		changed.Clients[0].Name = "Web"
		started, err := w.Start(t.Context(), []settings.TenantSpec{changed}, settings.StartOnce, version(0, "a"), secrets{}, unchecked)
		must(t, err)
		if len(started.Changes) != 0 || w.config().Clients[1].Settings.Name != "" {
			t.Errorf("a database with tenants was changed: %s", printed(started.Changes))
		}
		for _, table := range []string{"trusted_issuers", "clients", "tenants"} {
			w.exec("DELETE FROM " + table)
		}
		started, err = w.Start(t.Context(), []settings.TenantSpec{changed}, settings.StartOnce, version(0, "a"), secrets{}, unchecked)
		must(t, err)
		if len(started.Changes) != 4 || w.number("SELECT count(*) FROM file_nouns") != 0 {
			t.Errorf("an empty database: %s", printed(started.Changes))
		}
	})
}

// With off a file is not applied, so it is not recorded as applied either: the
// first start that does apply a file decides by that file alone.
func TestStartOffAppliesAndRecordsNoFile(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		empty := func() {
			for _, table := range []string{"trusted_issuers", "clients", "tenants"} {
				w.exec("DELETE FROM " + table)
			}
		}
		w.start(version(3, "a"), tenant())
		for _, f := range []models.File{version(0, "b"), version(2, "c"), version(9, "d")} {
			empty()
			started, err := w.Start(t.Context(), []settings.TenantSpec{tenant()}, settings.StartOff, f, secrets{}, unchecked)
			must(t, err)
			if !started.Default || started.Ignored != "" || started.Notice != "" || printed(started.Changes) != "+ tenant default\n" {
				t.Errorf("revision %d: %+v", f.Revision, started)
			}
		}
		if started := w.start(version(4, "e"), tenant()); started.Ignored != "" || started.Default || len(started.Changes) == 0 {
			t.Errorf("a file that is applied later: %+v", started)
		}
	})
}

func TestAFileThatOwnsNothingGivesUpWhateverItsRevision(t *testing.T) {
	for _, mode := range []string{settings.StartOff, settings.StartOnce} {
		t.Run(mode, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				spec := tenant()
				w.start(version(7, "a"), spec)
				started, err := w.Start(t.Context(), []settings.TenantSpec{spec}, mode, version(0, "b"), secrets{}, unchecked)
				must(t, err)
				if len(started.Released) == 0 || started.Ignored != "" || started.Notice != "" {
					t.Errorf("started: %+v", started)
				}
				spec.Clients[0].Name = "Web"
				w.apply(spec)
			})
		})
	}
}
