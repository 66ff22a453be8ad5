package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
)

func newRestored(s *sharedFlags) *cobra.Command {
	var at string
	var keep bool
	cmd := &cobra.Command{
		Use:   "restored --at TIME",
		Short: "Put the database in order after it was restored from a backup",
		Long: `Run it after a restore, before the servers start again. TIME is the moment up to
which the backup reaches. Whatever happened later is lost: sign-outs,
revocations, which client tokens were used. So that nothing of it comes back,

  - sessions that the backup contains end (--keep-sessions lets them live on,
    those that users signed out of since included),
  - client tokens that were issued before now are refused,
  - readers of the revocation feed and running servers start again, because the
    database has a new epoch.

After a failover to a standby that had not received everything, run it with
--keep-sessions. It can be run again at any time.`,
		Example: `  latchkey restored --at 2026-03-01T04:00:00Z
  latchkey restored --at "$(date -u +%Y-%m-%dT%H:%M:%SZ)" --keep-sessions`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			moment, err := time.Parse(time.RFC3339, at)
			if err != nil {
				return errors.New("--at is missing or is no time: give the moment up to which the backup reaches, such as 2026-03-01T04:00:00Z")
			}
			c, err := s.load(config.ForMigrate)
			if err != nil {
				return err
			}
			if path, missing := missingDatabase(c); missing {
				return fmt.Errorf("there is no database at %s; is this the right configuration and folder?", path)
			}
			store, err := open(cmd.Context(), c, logger(c.Log))
			if err != nil {
				return err
			}
			defer store.Close()
			ended, err := store.Restored(cmd.Context(), moment, keep)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintln(out, "The database has a new epoch. Client tokens issued before now are refused.")
			if keep {
				fmt.Fprintln(out, "Sessions live on.")
			} else {
				fmt.Fprintf(out, "%s ended.\n", plural(ended, "session"))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "the moment up to which the backup reaches (RFC 3339)")
	cmd.Flags().BoolVar(&keep, "keep-sessions", false, "do not end the sessions that the backup contains")
	return cmd
}
