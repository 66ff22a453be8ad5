package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
)

func newMigrate(s *sharedFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database schema up to date",
		Long: `Applies the schema migrations that are missing. "serve" does so too unless
database.migrate is false. Migrations only go forward, and each is safe while
the previous release still runs.`,
		Example: "  latchkey migrate --config latchkey.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load(config.ForMigrate)
			if err != nil {
				return err
			}
			c.Database.Migrate = true
			store, err := open(cmd.Context(), c, logger(c.Log))
			if err != nil {
				return err
			}
			defer store.Close()
			fmt.Fprintln(cmd.OutOrStdout(), "The schema is up to date.")
			return nil
		},
	}
}
