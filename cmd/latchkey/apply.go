package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

func newApply(s *sharedFlags) *cobra.Command {
	var file string
	var reset bool
	o := models.ApplyOptions{Actor: machine()}
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Change tenants, clients, trusted issuers and users as a file says",
		Long: `Compares the file with what is stored, prints the difference and makes it, in
one transaction. Applying the same file again changes nothing. If the outcome
would have a fault, every fault is printed with its path and nothing changes.
Running servers see the change within 5 seconds.

FILE may hold the tenants alone: the issuer, the root secret and the database then
come from the file of --config, or from LATCHKEY_CONFIG. Without --config they are
those of FILE.

The file is merged with what is stored. A tenant, client, trusted issuer or user
that the file does not name stays, and so does a key that is left out. "key: null"
sets the default again; any other value takes the place of the stored one whole,
lists and maps too. A changed preset resets the lifetimes that it decides, unless
the file gives them.

With --replace, everything that the file names becomes exactly what the file
says: a key that is left out has its default again.

With --prune, tenants, clients and trusted issuers that the file does not name
are removed, and their sessions end. The id of a removed tenant is never accepted
again. Users stay: most of them are in no file.

What the file of "latchkey serve" names is managed there: a file that names it
here is refused. "latchkey suspend" switches it off at once. A dry run of that
file itself prints what the next start of serve with it would change. If the file has a
revision, and it is higher than the stored one, it is stored: from then on serve
does not apply a file with a lower one, or with none.

If a revision was stored by mistake, --reset-revision stores that of FILE in its
place, and changes nothing else. FILE is the one that serve is to apply: its next
start does so.

Lines with ! say what loosens security, what stays looser than the default, and
what renames users.

At the end the trusted issuers of the file are asked for their keys. What keeps
their tokens from being verified is printed as a warning.

Look first, with --dry-run.`,
		Example: `  latchkey apply -f latchkey.yaml --dry-run
  latchkey apply -f latchkey.yaml
  latchkey apply -c latchkey.yaml -f other.yaml
  latchkey apply -f latchkey.yaml --replace --prune --dry-run
  latchkey apply -f latchkey.yaml --reset-revision`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			read, ofServe := s.read, o.DryRun && !o.Prune // which serve does not do
			switch {
			case file == "" && s.path == "":
				return errors.New("which file? Give it by -f latchkey.yaml")
			case s.path == "":
				s.path = file
			case file != "" && !sameFile(file, s.path):
				ofServe = false
				read = func(use config.Use) (*config.Config, settings.Faults, error) { return s.readApart(file, use) }
			}
			if reset && (o.Replace || o.Prune) {
				return errors.New("--reset-revision stores the revision of the file and changes nothing else: leave out --replace and --prune")
			}
			c, faults, err := read(config.ForApply)
			if err != nil {
				return err
			}
			if reset {
				if len(faults) > 0 {
					return faulty(faults.Named(c.Tenants))
				}
				return resetRevision(cmd, c, o.DryRun)
			}
			ofServe = ofServe && c.TenantsAtStart == settings.StartApply
			if len(faults) > 0 {
				return faulty(append(faults, faultsOfOutcome(cmd.Context(), c, faults, o, ofServe)...).Named(c.Tenants))
			}
			return applyFile(cmd, c, o, ofServe)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "file with the tenants to apply; by default that of --config")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "print the difference and change nothing")
	cmd.Flags().BoolVar(&o.Replace, "replace", false, "set the default again for every key that a noun in the file leaves out")
	cmd.Flags().BoolVar(&reset, "reset-revision", false, "store the revision of the file although a higher one is stored, and change nothing else")
	cmd.Flags().BoolVar(&o.Prune, "prune", false, "remove tenants, clients and trusted issuers that the file does not name")
	return cmd
}

// sameFile reports whether two paths are of one file.
func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return a == b
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// applyFile makes the difference, or only prints it. ofServe: it is a dry run
// of a file that serve may own.
func applyFile(cmd *cobra.Command, c *config.Config, o models.ApplyOptions, ofServe bool) error {
	if o.Prune && len(c.Tenants) == 0 {
		return errors.New("the file names no tenant, and --prune would remove every one that there is")
	}
	log := logger(c.Log)
	if path, missing := missingDatabase(c); missing && !o.DryRun {
		fmt.Fprintf(cmd.ErrOrStderr(), "Made a new database: %s\n", path)
	}
	if o.DryRun {
		cleanUp, err := standIn(cmd.Context(), c)
		if err != nil {
			return err
		}
		defer cleanUp()
	}
	store, keys, err := openAll(cmd.Context(), c, log)
	if err != nil {
		return err
	}
	defer store.Close()
	var outcome []settings.TenantSpec // merged with what is stored
	o.Validate = func(tenants []settings.TenantSpec) settings.Faults {
		if outcome == nil { // it may be called again, for what was stored before
			outcome = tenants
		}
		return validate(c)(tenants)
	}
	f, err := fileOf(c, keys)
	if err != nil {
		return err
	}
	o.File = &f
	changes, plan, err := difference(cmd.Context(), store, keys, c, o, ofServe)
	var faults settings.Faults
	if errors.As(err, &faults) {
		return faulty(faults)
	}
	if err != nil || plan != nil && !sayPlan(cmd.OutOrStdout(), plan) {
		return err
	}
	if err := printDifference(cmd, store, keys, c, changes, o.DryRun); err != nil {
		return err
	}
	if err := warnAboutIssuers(cmd.Context(), cmd.ErrOrStderr(), outcome, c, store, keys); err != nil || o.DryRun {
		return err
	}
	return oauth.New(oauth.Config{Issuer: c.Issuer, Store: store, Keys: keys, Log: log}).EnsureSigningKeys(cmd.Context())
}

// difference makes the difference, or in a dry run works it out. Where serve
// owns something of the file, apply would refuse it; what serve itself would do
// with it is the plan then.
func difference(ctx context.Context, store *models.Store, keys *oauth.Keys, c *config.Config, o models.ApplyOptions, ofServe bool) ([]models.Change, *models.Started, error) {
	if ofServe {
		owned, err := store.Owned(ctx, c.Tenants)
		if err != nil {
			return nil, nil, err
		}
		if owned {
			plan, err := store.PlanStart(ctx, c.Tenants, c.TenantsAtStart, *o.File, keys, o.Validate)
			if err != nil {
				return nil, nil, err
			}
			return plan.Changes, plan, nil
		}
	}
	changes, err := store.Apply(ctx, c.Tenants, keys, o)
	return changes, nil, err
}

// sayPlan prints what the next start of serve does with its file, but for the
// difference, and reports whether it applies the file at all.
func sayPlan(out io.Writer, plan *models.Started) (applies bool) {
	if plan.Ignored != "" {
		fmt.Fprintf(out, "\"latchkey serve\" owns what this file names. Its next start does not apply this file: %s.\n", plan.Ignored)
		return false
	}
	fmt.Fprintln(out, "\"latchkey serve\" owns what this file names. Its next start with this file makes this difference:")
	for _, name := range plan.Released {
		fmt.Fprintf(out, "~ %s: no longer owned, because the file does not name it; \"latchkey apply\" may change it from then on\n", name)
	}
	if plan.Notice != "" {
		fmt.Fprintf(out, "! %s\n", plan.Notice)
	}
	return true
}

// resetRevision lets serve apply the file again that a revision which was
// stored by mistake has shut out.
func resetRevision(cmd *cobra.Command, c *config.Config, dryRun bool) error {
	if c.TenantsAtStart != settings.StartApply {
		return fmt.Errorf("tenants_at_start is %s: whatever its revision, serve applies no file to this database, so there is nothing to reset", c.TenantsAtStart)
	}
	if path, missing := missingDatabase(c); missing {
		return fmt.Errorf("there is no database at %s; is this the right configuration and folder?", path)
	}
	c.Database.Migrate = c.Database.Migrate && !dryRun
	store, keys, err := openAll(cmd.Context(), c, logger(c.Log))
	if err != nil {
		return err
	}
	defer store.Close()
	f, err := fileOf(c, keys)
	if err != nil {
		return err
	}
	before, ignored, err := store.ResetFile(cmd.Context(), f, dryRun)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	name := func(revision int64) string {
		if revision == 0 {
			return "none"
		}
		return fmt.Sprint(revision)
	}
	switch {
	case ignored == "":
		fmt.Fprintf(out, "Nothing to reset: the stored revision is %s, and the next start of \"latchkey serve\" with this file applies it.\n", name(before))
	case dryRun:
		fmt.Fprintf(out, "The stored revision is %s and would become %s. Nothing was changed: this was a dry run.\n", name(before), name(f.Revision))
	default:
		fmt.Fprintf(out, "The stored revision was %s and is %s now. The next start of \"latchkey serve\" with this file applies it; until then nothing else changes.\n", name(before), name(f.Revision))
	}
	return nil
}

// printDifference prints what has changed, or would, and what is suspended.
func printDifference(cmd *cobra.Command, store *models.Store, keys *oauth.Keys, c *config.Config, changes []models.Change, dry bool) error {
	out := cmd.OutOrStdout()
	for _, change := range changes {
		change.Print(out)
	}
	if err := warnSuspended(cmd, store, keys, c.Tenants); err != nil {
		return err
	}
	switch {
	case len(changes) == 0:
		fmt.Fprintln(out, "Nothing to change.")
	case dry:
		fmt.Fprintf(out, "%s, none made: this was a dry run.\n", plural(len(changes), "change"))
	default:
		fmt.Fprintf(out, "%s made.\n", plural(len(changes), "change"))
	}
	return nil
}

// faultsOfOutcome adds what is wrong with tenants to the faults that loading
// has found, so that all are reported at once. The two need the database: what
// the file leaves out is stored there. Without it, only what the file does say
// is checked.
func faultsOfOutcome(ctx context.Context, c *config.Config, found settings.Faults, o models.ApplyOptions, ofServe bool) settings.Faults {
	known := map[string]bool{}
	for _, f := range found {
		known[f.Path] = true
	}
	fresh := func(faults settings.Faults) settings.Faults {
		return slices.DeleteFunc(c.Unreported(faults), func(f settings.Fault) bool { return known[f.Path] })
	}
	alone := fresh(validate(c)(c.Tenants).OfWritten(c.Tenants))
	if slices.ContainsFunc(found, func(f settings.Fault) bool { return !strings.HasPrefix(f.Path, "tenants") }) {
		return alone
	}
	cleanUp, err := standIn(ctx, c)
	if err != nil {
		return alone
	}
	defer cleanUp()
	store, keys, err := openAll(ctx, c, slog.New(slog.DiscardHandler))
	if err != nil {
		return alone
	}
	defer store.Close()
	f, err := fileOf(c, keys)
	if err != nil {
		return alone
	}
	o.DryRun, o.Validate, o.File = true, validate(c), &f
	_, plan, err := difference(ctx, store, keys, c, o, ofServe)
	if plan != nil && plan.Ignored != "" { // which no start would look at
		return alone
	}
	var faults settings.Faults
	errors.As(err, &faults)
	return fresh(faults)
}

// missingDatabase says whether the database is a file that is not there yet.
// Only some commands make one.
func missingDatabase(c *config.Config) (path string, missing bool) {
	path, isFile := strings.CutPrefix(c.Database.URL, "sqlite:")
	path = strings.TrimPrefix(path, "//")
	_, err := os.Stat(path)
	return path, isFile && errors.Is(err, os.ErrNotExist)
}

// standIn lets a dry run leave no trace: it does not migrate, and where there
// is no database yet it works on an empty one of its own.
func standIn(ctx context.Context, c *config.Config) (cleanUp func(), err error) {
	empty := true
	if _, missing := missingDatabase(c); !missing {
		store, err := models.Open(ctx, c.Database.URL, storeOptions(c, slog.Default()))
		if err != nil {
			return nil, err
		}
		defer store.Close()
		schema, err := store.Schema(ctx)
		if err != nil {
			return nil, err
		}
		empty = schema.Empty
	}
	c.Database.Migrate = empty
	if !empty {
		return func() {}, nil
	}
	folder, err := os.MkdirTemp("", "latchkey-dry-run-")
	if err != nil {
		return nil, err
	}
	c.Database.URL = "sqlite:" + filepath.Join(folder, "latchkey.db")
	return func() { os.RemoveAll(folder) }, nil
}
