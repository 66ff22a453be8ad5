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
		Short: "Secure a database that was restored from a backup",
		Long: `Run this after a restore, before the servers start again. TIME is the moment at
which the backup ends. Everything that happened later is lost: sign-outs,
revocations, and which client tokens were used. So that no ended session or used
token becomes valid again,

  - all sessions in the backup end (--keep-sessions keeps them, including those
    from which users have signed out since),
  - client tokens that were issued before now are rejected,
  - the database gets a new epoch, so that running servers and readers of the
    revocation feed read everything again.

After a failover to a standby that had not received everything, run it with
--keep-sessions. You can run it again at any time.`,
		Example: `  latchkey restored --at 2026-03-01T04:00:00Z
  latchkey restored --at "$(date -u +%Y-%m-%dT%H:%M:%SZ)" --keep-sessions`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			moment, err := time.Parse(time.RFC3339, at)
			if err != nil {
				return errors.New("--at must be the time at which the backup ends, such as 2026-03-01T04:00:00Z")
			}
			c, err := s.load(config.ForMigrate)
			if err != nil {
				return err
			}
			if err := databaseExists(c); err != nil {
				return err
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
			fmt.Fprintln(out, "The database has a new epoch. Client tokens that were issued before now are rejected.")
			if keep {
				fmt.Fprintln(out, "Sessions were kept.")
			} else {
				fmt.Fprintf(out, "%s ended.\n", plural(ended, "session"))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "the time at which the backup ends (RFC 3339)")
	cmd.Flags().BoolVar(&keep, "keep-sessions", false, "keep the sessions in the backup")
	return cmd
}
