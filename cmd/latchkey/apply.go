package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

func newApply(s *settings) *cobra.Command {
	var file string
	var o models.ApplyOptions
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make tenants, clients, issuers and users as a file says",
		Long: `Compares the file with what is stored and makes the difference, in one
transaction. Applying twice changes nothing more. What the file does not name
stays as it is. A file with a fault is refused whole, every fault named by its
path. Running servers see the change within 5 seconds.

With --prune, tenants, clients and trusted issuers that the file does not name
are removed, and their sessions end. The id of a removed tenant is never
accepted again. Users stay: most of them are in no file. Look first, with
--dry-run.`,
		Example: `  latchkey apply -f latchkey.yaml --dry-run
  latchkey apply -f latchkey.yaml
  latchkey apply -f latchkey.yaml --prune --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file != "" {
				s.path = file
			}
			if s.path == "" {
				return errors.New("which file? Give it by -f latchkey.yaml")
			}
			c, err := s.load(config.ForApply)
			if err != nil {
				return err
			}
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
			changes, err := store.Apply(cmd.Context(), c.Tenants, keys, o)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			for _, change := range changes {
				change.Print(out)
			}
			if err := warnSuspended(cmd.Context(), out, store, keys, c.Tenants); err != nil {
				return err
			}
			switch {
			case len(changes) == 0:
				fmt.Fprintln(out, "Nothing to change.")
			case o.DryRun:
				fmt.Fprintf(out, "%d change(s), none made: this was a dry run.\n", len(changes))
			default:
				fmt.Fprintf(out, "%d change(s) made.\n", len(changes))
			}
			if o.DryRun {
				return nil
			}
			return oauth.New(oauth.Config{Issuer: c.Issuer, Store: store, Keys: keys, Log: log}).EnsureSigningKeys(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "configuration file (the same as --config)")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "print the difference and change nothing")
	cmd.Flags().BoolVar(&o.Prune, "prune", false, "remove tenants, clients and trusted issuers that the file does not name")
	return cmd
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
		store, err := models.Open(ctx, c.Database.URL, models.Options{NoPreparedStatements: !c.Database.PreparedStatements})
		if err != nil {
			return nil, err
		}
		defer store.Close()
		if empty, err = store.Empty(ctx); err != nil {
			return nil, err
		}
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
