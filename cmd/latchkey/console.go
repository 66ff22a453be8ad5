package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
)

func newAdminKeysLink(s *sharedFlags) *cobra.Command {
	var key, base string
	cmd := &cobra.Command{
		Use:   "link",
		Short: "Print a link that signs in to the console",
		Long: `Prints a link that signs a browser in to the console with an admin key. The link is
valid for 5 minutes, can be used once, and ends with its key. Run the command on the
server.`,
		Example: "  latchkey admin-keys link --key k7fq2mhc5wz9xd3t",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case s.server != "":
				return errors.New("the link is created in the database of the configuration: run the command on the server, without --server")
			case key == "":
				return errors.New("--key is required: latchkey admin-keys list shows the ids of the keys")
			}
			c, err := s.load(config.ForKeys)
			if err != nil {
				return err
			}
			if base == "" {
				if base, err = consoleBase(c); err != nil {
					return err
				}
			}
			return withKeys(cmd, s, func(store *models.Store, roots *keys.Roots) error {
				code, digest := roots.NewConsoleLink()
				row, err := store.CreateConsoleLink(cmd.Context(), digest, key, machine())
				switch {
				case errors.Is(err, models.ErrNotFound):
					return fmt.Errorf("there is no admin key with the id %q; run latchkey admin-keys list to see the keys", key)
				case err != nil:
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), consoleLink(base, code))
				_, err = fmt.Fprintf(cmd.ErrOrStderr(), "The link signs in as %s (%s). It can be used once, within 5 minutes.\n", printable(row.Name), row.Role)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "id of the admin key to sign in with (required)")
	cmd.Flags().StringVar(&base, "url", "", "address of the console without its path, such as https://admin.example.com; default: that of admin_listen")
	return cmd
}

// consoleLink returns the link for a code. The code is in the fragment, which browsers
// do not send and proxies do not log.
func consoleLink(base, code string) string {
	return strings.TrimSuffix(base, "/") + "/console/sign-in#" + code
}

// consoleBase returns the address of the console without its path.
func consoleBase(c *config.Config) (string, error) {
	if c.AdminListen == config.None {
		return "", errors.New("the configuration switches the console off: admin_listen is \"none\"")
	}
	if c.AdminShared() {
		u, err := url.Parse(c.Issuer)
		if err != nil {
			return "", err
		}
		return u.Scheme + "://" + u.Host, nil
	}
	if !c.AdminLoopback() {
		return "", errors.New("--url is required, because other machines reach the console at an address that the configuration does not contain")
	}
	_, port, err := net.SplitHostPort(c.AdminListen)
	if err != nil {
		return "", err
	}
	return "http://" + net.JoinHostPort("localhost", port), nil // on loopback, the listener does without TLS
}

// printConsole prints a link that signs in to the console of dev mode.
func printConsole(ctx context.Context, out io.Writer, n *node, folder string) error {
	key, err := devAdminKey(ctx, n, folder)
	if err != nil {
		return err
	}
	code, digest := n.keys.NewConsoleLink()
	if _, err := n.store.CreateConsoleLink(ctx, digest, key, models.Actor{Name: "latchkey dev", Role: models.RoleMachine}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Console: %s\n   The link can be used once, within 5 minutes. Afterwards, sign in with the admin key in %s.\n",
		consoleLink(n.config.Issuer, code), filepath.Join(folder, devKeyFile))
	return err
}

// devKeyFile is the file in the data folder with the admin key of dev mode.
const devKeyFile = "admin-key"

// devAdminKey returns the id of the admin key of dev mode. The first start creates the
// key; later ones use it, unless it was revoked or the database is another one.
func devAdminKey(ctx context.Context, n *node, folder string) (id string, err error) {
	path := filepath.Join(folder, devKeyFile)
	if text, err := os.ReadFile(path); err == nil {
		row, err := n.oauth.AuthenticateAdminKey(ctx, strings.TrimSpace(string(text)), "")
		if err == nil && row.Role == models.RoleOwner {
			return row.ID, nil
		}
		if err != nil && !errors.Is(err, oauth.ErrAdminKey) {
			return "", err
		}
	}
	key, row := n.keys.NewAdminKey()
	oauth.AdminKeySpec{Name: "latchkey dev", Role: models.RoleOwner}.Fill(&row)
	by := models.Actor{Name: "latchkey dev", Role: models.RoleMachine}
	row.CreatedBy = by.Name
	if err := n.store.CreateAdminKey(ctx, &row, by); err != nil {
		return "", err
	}
	return row.ID, os.WriteFile(path, []byte(key+"\n"), 0o600)
}
