package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
)

func newMigrate(s *sharedFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Update the database schema",
		Long: `Applies the missing schema migrations. "serve" does this too, unless
database.migrate is false. Migrations cannot be undone; each is safe while servers
of the previous release are running.`,
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
