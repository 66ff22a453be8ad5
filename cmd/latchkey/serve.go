package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
)

func newServe(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Runs the server until it gets SIGINT or SIGTERM, and lets requests under way
finish. What the configuration says of tenants is applied at every start; what
it does not name is left alone. Two settings have no default:

  LATCHKEY_ISSUER   the base URL, such as https://id.example.com
  LATCHKEY_SECRET   the root secret ("latchkey secret new" makes one)`,
		Example: `  export LATCHKEY_ISSUER=http://localhost:8080
  export LATCHKEY_SECRET=$(latchkey secret new)
  latchkey serve --config latchkey.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load(config.ForServe)
			if err != nil {
				return err
			}
			log := logger(c.Log)
			serving, metrics, err := openListeners(c)
			if err != nil {
				return err
			}
			n, err := newNode(cmd.Context(), c, log)
			if err != nil {
				return errors.Join(err, closeAll(serving, metrics))
			}
			defer n.store.Close()
			defer keepHeadroom()()
			log.Info("serving", "issuer", c.Issuer, "listen", serving.Addr().String(), "database", n.store.Dialect())
			err = n.serve(cmd.Context(), serving, metrics)
			log.Info("stopped")
			return err
		},
	}
}
