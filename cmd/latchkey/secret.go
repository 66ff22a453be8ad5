package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/oauth"
)

func newSecret() *cobra.Command {
	secret := group("secret", "Root secrets")
	secret.Example = "  latchkey secret new"
	secret.AddCommand(&cobra.Command{
		Use:   "new",
		Short: "Print a new root secret",
		Long: `Prints a root secret of 256 random bits. Every key of the server is derived
from it: keep it as you would keep a private key. It belongs in LATCHKEY_SECRET
or in the file that LATCHKEY_SECRET_FILE names.`,
		Example: `  export LATCHKEY_SECRET=$(latchkey secret new)
  (umask 077; latchkey secret new > root-secret)`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), oauth.NewRootSecret())
			return err
		},
	}, notYet("status", "Say what still hangs on an old root secret", "  latchkey secret status --config latchkey.yaml"))
	return secret
}
