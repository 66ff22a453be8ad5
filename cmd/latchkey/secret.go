package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
)

func newSecret(s *sharedFlags) *cobra.Command {
	secret := group("secret", "Create a root secret, or show which ones are in use")
	secret.Example = "  latchkey secret new"
	secret.AddCommand(&cobra.Command{
		Use:   "new",
		Short: "Print a new root secret",
		Long: `Prints a root secret of 256 random bits. Every key of the server is derived from
it, so protect it like a private key. Set it in LATCHKEY_SECRET, or in a file that
LATCHKEY_SECRET_FILE names.`,
		Example: `  export LATCHKEY_SECRET=$(latchkey secret new)
  (umask 077; latchkey secret new > root-secret)`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), keys.NewRootSecret())
			return err
		},
	}, &cobra.Command{
		Use:   "status",
		Short: "Show what still depends on each root secret",
		Long: `Prints, for the fingerprint of each root secret, how much of the database depends
on it. Remove a root secret from the configuration once nothing depends on it.
Values move from an old root secret to the new one automatically: sessions when
they are refreshed, client secrets and session tokens when they are used, signing
keys and shared secrets within half a minute after a server starts to issue with
the new one.`,
		Example: "  latchkey secret status --config latchkey.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withServer(cmd, s, func(server *oauth.Server, _ *models.Store) error {
				status, err := server.SecretStatus(cmd.Context())
				if err != nil {
					return err
				}
				return printStatus(cmd.OutOrStdout(), status)
			})
		},
	})
	return secret
}

func printStatus(out io.Writer, status []oauth.RootStatus) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ROOT SECRET\tROLE\tSIGNING KEYS\tSHARED SECRETS\tCLIENT SECRETS\tSESSIONS\tUSED TOKENS\tSESSION TOKENS\tSUSPENSION KEY\tADMIN KEYS")
	for _, r := range status {
		role := "unknown"
		switch {
		case r.Issues:
			role = "issues"
		case r.Accepted:
			role = "accepted"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", r.Fingerprint, role, r.SigningKeys, r.SharedSecrets, r.ClientSecrets, r.Sessions, r.UsedTokens, r.SessionTokens, r.SuspensionKeys, r.AdminKeys)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range status {
		switch {
		case r.Issues:
		case r.Upcoming && r.Accepted:
			fmt.Fprintf(out, "\n%s: the next root secret. When every server accepts it, put it first.\n", r.Fingerprint)
			continue
		case !r.Needed():
			fmt.Fprintf(out, "\n%s: nothing depends on it. Remove it from the configuration.\n", r.Fingerprint)
		case !r.Accepted:
			fmt.Fprintf(out, "\n%s: not configured. Whatever depends on it is rejected.\n", r.Fingerprint)
		default:
			fmt.Fprintf(out, "\n%s: still in use.\n", r.Fingerprint)
		}
		if r.Issues {
			continue
		}
		if r.ClientSecrets > 0 {
			fmt.Fprintf(out, "  client secrets move when they are used or applied from a file: %s\n", strings.Join(r.Clients, ", "))
		}
		if r.AdminKeys > 0 {
			fmt.Fprintln(out, "  admin keys move when they are used; revoke unused ones")
		}
		if r.Sessions+r.UsedTokens+r.SessionTokens > 0 {
			fmt.Fprintf(out, "  sessions move when they are used; the last one ends by %s\n", stamp(r.LastSession))
		}
	}
	return nil
}
