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
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/sdk/go/admin"
	"github.com/latchkey/latchkey/settings"
)

func newApply(s *sharedFlags) *cobra.Command {
	var file string
	var reset bool
	o := models.ApplyOptions{Actor: machine(), ClientNotes: oauth.UnsetClaimNotes}
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Apply a file of tenants, clients, trusted issuers and users",
		Long: `Compares the file with the database, prints the changes and makes them in one
transaction. Applying the same file again changes nothing. If the result would
have a fault, the command prints every fault with its path and changes nothing.
Running servers see the changes within 5 seconds. Run it with --dry-run first.

FILE may contain only the tenants. The issuer, the root secret and the database
then come from the file of --config or LATCHKEY_CONFIG. Without either, they come
from FILE.

The file is merged with the database. A tenant, client, trusted issuer or user
that the file does not name stays, and so does a key that it omits. "key: null"
restores the default. Any other value replaces the stored value as a whole, lists
and maps included. A changed preset resets the lifetimes that it determines,
unless the file sets them.

With --replace, every tenant, client, trusted issuer and user that the file names
gets exactly the settings of the file: a key that it omits returns to its default.

With --prune, tenants, clients and trusted issuers that the file does not name
are removed, and their sessions end. The id of a removed tenant is never accepted
again. Users stay, because most of them are in no file.

"latchkey serve" owns the objects that its own file names. This command rejects a
file that names one of them; to disable one at once, use "latchkey suspend". With
--dry-run and the file of serve, the command prints what the next start of serve
would change.

If FILE has a revision that is higher than the stored one, the command stores it.
From then on serve does not apply a file with a lower revision or with none. If a
revision was stored by mistake, --reset-revision replaces it with that of FILE and
changes nothing else; the next start of serve then applies FILE.

Lines that begin with ! show what weakens security, what stays weaker than the
default, what renames users, and which claims nothing in the configuration yields.

Finally, the command fetches the keys of the trusted issuers in the file. It
prints a warning for each issuer whose tokens cannot be verified.

With --server, the command sends the tenants and the revision of FILE to the admin
API of a running server, with the contents of the files that secret_file and
shared_secret_file name, and ignores the other settings. It needs an admin key: in
LATCHKEY_ADMIN_KEY, or in the file of --key-file. --prune then removes nothing
outside the tenants of the key. The server, not this machine, fetches the keys, and
only of the trusted issuers that change; a dry run fetches none. The command does not
list what is suspended: run "latchkey suspend --list". --reset-revision is not
available, because it concerns the file that "latchkey serve" reads.`,
		Example: `  latchkey apply -f latchkey.yaml --dry-run
  latchkey apply -f latchkey.yaml
  latchkey apply -c latchkey.yaml -f other.yaml
  latchkey apply -f latchkey.yaml --replace --prune --dry-run
  latchkey apply -f latchkey.yaml --reset-revision
  latchkey apply -f tenants.yaml --server https://admin.example.com --key-file admin-key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := s.remote(cmd)
			switch {
			case err != nil:
				return err
			case client != nil && reset:
				return errors.New("--reset-revision needs the file that \"latchkey serve\" reads: run it on the server, without --server")
			case client != nil:
				if file == "" {
					file = s.path
				}
				return readable(applyRemotely(cmd, client, file, admin.ApplyOptions{DryRun: o.DryRun, Replace: o.Replace, Prune: o.Prune}))
			}
			read, ofServe := s.read, o.DryRun && !o.Prune // serve never prunes
			switch {
			case file == "" && s.path == "":
				return errors.New("no file given: use -f, as in -f latchkey.yaml")
			case s.path == "":
				s.path = file
			case file != "" && !sameFile(file, s.path):
				ofServe = false
				read = func(use config.Use) (*config.Config, settings.Faults, error) { return s.readApart(file, use) }
			}
			if reset && (o.Replace || o.Prune) {
				return errors.New("--reset-revision cannot be combined with --replace or --prune: it only stores the revision of the file")
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
	s.addRemote(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "file with the tenants to apply; default: the file of --config")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "print the changes without making them")
	cmd.Flags().BoolVar(&o.Replace, "replace", false, "restore the default of every key that the file omits, for each tenant, client, issuer and user that it names")
	cmd.Flags().BoolVar(&reset, "reset-revision", false, "replace a higher stored revision with that of the file, and change nothing else")
	cmd.Flags().BoolVar(&o.Prune, "prune", false, "remove tenants, clients and trusted issuers that the file does not name")
	return cmd
}

// sameFile reports whether two paths name the same file.
func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return a == b
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// applyFile makes the changes, or only prints them in a dry run. ofServe marks a
// dry run of the file that serve applies.
func applyFile(cmd *cobra.Command, c *config.Config, o models.ApplyOptions, ofServe bool) error {
	if o.Prune && len(c.Tenants) == 0 {
		return errors.New("the file names no tenant: --prune would remove all tenants")
	}
	log := logger(c.Log)
	if path, missing := missingDatabase(c); missing && !o.DryRun {
		fmt.Fprintf(cmd.ErrOrStderr(), "Creating a new database: %s\n", path)
	}
	if o.DryRun {
		cleanUp, err := useScratchDatabase(cmd.Context(), c)
		if err != nil {
			return err
		}
		defer cleanUp()
	}
	store, roots, err := openAll(cmd.Context(), c, log)
	if err != nil {
		return err
	}
	defer store.Close()
	var outcome []settings.TenantSpec // merged with what is stored
	o.Validate = func(tenants []settings.TenantSpec) settings.Faults {
		if outcome == nil { // a second call checks what was stored before
			outcome = tenants
		}
		return validate(c)(tenants)
	}
	f, err := fileOf(c, roots)
	if err != nil {
		return err
	}
	o.File = &f
	changes, plan, err := difference(cmd.Context(), store, roots, c, o, ofServe)
	var faults settings.Faults
	if errors.As(err, &faults) {
		return faulty(faults)
	}
	if err != nil || plan != nil && !printPlan(cmd.OutOrStdout(), plan) {
		return err
	}
	if err := printDifference(cmd, store, roots, c, changes, o.DryRun); err != nil {
		return err
	}
	if err := warnAboutIssuers(cmd.Context(), cmd.ErrOrStderr(), outcome, c, store, roots); err != nil || o.DryRun {
		return err
	}
	return oauth.New(oauth.Config{Issuer: c.Issuer, Store: store, Keys: roots, Log: log}).EnsureSigningKeys(cmd.Context())
}

// difference makes the changes, or computes them in a dry run. A file that names
// something that serve owns would be rejected; for the file of serve itself,
// difference returns the plan of the next start instead.
func difference(ctx context.Context, store *models.Store, roots *keys.Roots, c *config.Config, o models.ApplyOptions, ofServe bool) ([]models.Change, *models.Started, error) {
	if ofServe {
		owned, err := store.Owned(ctx, c.Tenants)
		if err != nil {
			return nil, nil, err
		}
		if owned {
			plan, err := store.PlanStart(ctx, c.Tenants, c.TenantsAtStart, *o.File, roots, o.Validate)
			if err != nil {
				return nil, nil, err
			}
			return plan.Changes, plan, nil
		}
	}
	changes, err := store.Apply(ctx, c.Tenants, roots, o)
	return changes, nil, err
}

// printPlan prints what the next start of serve does with its file, except for
// the changes, and reports whether it applies the file at all.
func printPlan(out io.Writer, plan *models.Started) (applies bool) {
	if plan.Ignored != "" {
		fmt.Fprintf(out, "\"latchkey serve\" owns the contents of this file. Its next start does not apply the file: %s.\n", plan.Ignored)
		return false
	}
	fmt.Fprintln(out, "\"latchkey serve\" owns the contents of this file. Its next start with this file makes these changes:")
	for _, name := range plan.Released {
		fmt.Fprintf(out, "~ %s: no longer owned, because the file does not name it; \"latchkey apply\" can change it after that start\n", name)
	}
	if plan.Notice != "" {
		fmt.Fprintf(out, "! %s\n", plan.Notice)
	}
	return true
}

// resetRevision replaces a revision that was stored by mistake, so that serve
// applies the file again.
func resetRevision(cmd *cobra.Command, c *config.Config, dryRun bool) error {
	if c.TenantsAtStart != settings.StartApply {
		return fmt.Errorf("nothing to reset: tenants_at_start is %s, so serve does not apply this file, whatever its revision", c.TenantsAtStart)
	}
	if err := databaseExists(c); err != nil {
		return err
	}
	c.Database.Migrate = c.Database.Migrate && !dryRun
	store, roots, err := openAll(cmd.Context(), c, logger(c.Log))
	if err != nil {
		return err
	}
	defer store.Close()
	f, err := fileOf(c, roots)
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
		fmt.Fprintf(out, "Nothing to reset: the stored revision is %s, and the next start of \"latchkey serve\" applies this file.\n", name(before))
	case dryRun:
		fmt.Fprintf(out, "The stored revision is %s and would become %s. This was a dry run: nothing was changed.\n", name(before), name(f.Revision))
	default:
		fmt.Fprintf(out, "The stored revision was %s and is now %s. The next start of \"latchkey serve\" applies this file; until then nothing else changes.\n", name(before), name(f.Revision))
	}
	return nil
}

// printDifference prints the changes, and what is suspended.
func printDifference(cmd *cobra.Command, store *models.Store, roots *keys.Roots, c *config.Config, changes []models.Change, dry bool) error {
	out := cmd.OutOrStdout()
	for _, change := range changes {
		change.Print(out)
	}
	if err := warnSuspended(cmd, store, roots, c.Tenants); err != nil {
		return err
	}
	printNumber(out, len(changes), dry)
	return nil
}

// printNumber prints how many changes were made, or would be.
func printNumber(out io.Writer, changes int, dry bool) {
	switch {
	case changes == 0:
		fmt.Fprintln(out, "No changes.")
	case dry:
		fmt.Fprintf(out, "%s planned. This was a dry run: nothing was changed.\n", plural(changes, "change"))
	default:
		fmt.Fprintf(out, "%s made.\n", plural(changes, "change"))
	}
}

// faultsOfOutcome returns the faults of the resulting tenants that loading has
// not found, so that the command reports all faults at once. It needs the
// database, which stores the settings that the file omits. Without the database
// it checks only the settings in the file.
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
	cleanUp, err := useScratchDatabase(ctx, c)
	if err != nil {
		return alone
	}
	defer cleanUp()
	store, roots, err := openAll(ctx, c, slog.New(slog.DiscardHandler))
	if err != nil {
		return alone
	}
	defer store.Close()
	f, err := fileOf(c, roots)
	if err != nil {
		return alone
	}
	o.DryRun, o.Validate, o.File = true, validate(c), &f
	_, plan, err := difference(ctx, store, roots, c, o, ofServe)
	if plan != nil && plan.Ignored != "" { // no start would check the file
		return alone
	}
	var faults settings.Faults
	errors.As(err, &faults)
	return fresh(faults)
}

// useScratchDatabase keeps a dry run from changing anything: it disables
// migrations, and replaces a database that is missing or empty by a temporary one.
func useScratchDatabase(ctx context.Context, c *config.Config) (cleanUp func(), err error) {
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
