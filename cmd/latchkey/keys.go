package main

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/sdk/go/admin"
	"github.com/latchkey/latchkey/settings"
)

func newKeys(s *sharedFlags) *cobra.Command {
	var tenant string
	parent := group("keys", "List, rotate or retire the signing keys of a tenant")
	parent.Long = `Every tenant signs with its own keys. A key is first announced (published in the
key set, so that verifiers can fetch it), then active, then verify-only until the
last token that it signed has expired, then retired.` + remoteHelp
	parent.Example = "  latchkey keys list --config latchkey.yaml\n  latchkey keys rotate --config latchkey.yaml"
	s.addRemote(parent)
	var asJSON bool
	parent.PersistentFlags().StringVar(&tenant, "tenant", settings.DefaultTenant, "id of the tenant")
	list := &cobra.Command{
		Use: "list", Short: "List the keys and their states", Args: cobra.NoArgs,
		Example: "  latchkey keys list --config latchkey.yaml --tenant acme\n  latchkey keys list --server https://admin.example.com --key-file admin-key",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.either(cmd, func(client *admin.Client) error {
				list, err := client.SigningKeys.List(cmd.Context(), tenant)
				if err != nil {
					return s.absent(err, "there is no tenant %q", tenant)
				}
				return printKeys(cmd, list, asJSON)
			}, func() error {
				return withServer(cmd, s, func(server *oauth.Server, store *models.Store) error {
					list, err := listKeys(cmd, store, tenant)
					if err != nil {
						return err
					}
					return printKeys(cmd, list, asJSON)
				})
			})
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	parent.AddCommand(list, &cobra.Command{
		Use: "rotate", Short: "Announce a new key, which signs after " + keys.Announcement.String(), Args: cobra.NoArgs,
		Example: "  latchkey keys rotate --config latchkey.yaml --tenant acme",
		RunE: func(cmd *cobra.Command, _ []string) error {
			announced := func(kid, algorithm string, from models.Time) error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "Announced %s (%s). It signs from %s.\n", kid, algorithm, stamp(from))
				return err
			}
			return s.either(cmd, func(client *admin.Client) error {
				key, err := client.SigningKeys.Rotate(cmd.Context(), tenant)
				if err != nil {
					return s.absent(err, "there is no tenant %q", tenant)
				}
				return announced(key.Kid, key.Algorithm, models.At(key.ActivatesAt))
			}, func() error {
				return withServer(cmd, s, func(server *oauth.Server, store *models.Store) error {
					key, err := server.RotateSigningKey(cmd.Context(), tenant, machine())
					if err != nil {
						return noTenant(err, tenant)
					}
					return announced(key.Kid, key.Algorithm, key.ActivatesAt)
				})
			})
		},
	}, &cobra.Command{
		Use: "retire KID", Short: "Take a key out of service at once and destroy it", Args: oneKey,
		Long: `Takes a key out of service that may have been copied. Within 5 seconds, running
servers reject every token that it signed. If it was the active key, the announced
key replaces it, or a new key if none is announced. Sessions and refresh tokens
remain valid: an app whose access token is rejected refreshes it. Verifiers that
cache the key set accept the key until they fetch the set again; Cache-Control
lets them cache it for 5 minutes.`,
		Example: "  latchkey keys retire KID --config latchkey.yaml --tenant acme",
		RunE: func(cmd *cobra.Command, args []string) error {
			retired := func(signs string) error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "Retired %s. Servers reject the tokens that it signed within 5 seconds. %s signs now.\n", args[0], signs)
				return err
			}
			const unknown = "tenant %q has no key %q in service; run latchkey keys list to see its keys"
			return s.either(cmd, func(client *admin.Client) error {
				signs, err := client.SigningKeys.Retire(cmd.Context(), tenant, args[0])
				if err != nil {
					return s.absent(err, unknown, tenant, args[0])
				}
				return retired(signs)
			}, func() error {
				return withServer(cmd, s, func(server *oauth.Server, store *models.Store) error {
					signs, err := server.RetireSigningKey(cmd.Context(), tenant, args[0], machine())
					if errors.Is(err, oauth.ErrUnknownKey) {
						return fmt.Errorf(unknown, tenant, args[0])
					}
					if err != nil {
						return noTenant(err, tenant)
					}
					return retired(signs)
				})
			})
		},
	})
	return parent
}

// oneKey requires the one argument of retire.
func oneKey(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("give one KID; run latchkey keys list to see the keys")
	}
	return nil
}

// withServer calls fn with a server and store on the existing database.
func withServer(cmd *cobra.Command, s *sharedFlags, fn func(*oauth.Server, *models.Store) error) error {
	return withDeployment(cmd, s, func(d *existing) error {
		return fn(oauth.New(oauth.Config{Issuer: d.config.Issuer, Store: d.store, Keys: d.keys, Log: d.log}), d.store)
	})
}

func listKeys(cmd *cobra.Command, store *models.Store, tenant string) ([]admin.SigningKey, error) {
	if _, err := store.TenantConfig(cmd.Context(), tenant); err != nil {
		return nil, noTenant(err, tenant)
	}
	ring, err := store.SigningKeys(cmd.Context(), tenant)
	if err != nil {
		return nil, err
	}
	list := make([]admin.SigningKey, len(ring))
	for i, state := range keys.States(ring, store.Now()) {
		k := ring[i]
		list[i] = admin.SigningKey{Kid: k.Kid, Algorithm: k.Algorithm, State: string(state), CreatedAt: k.CreatedAt.Time, ActivatesAt: k.ActivatesAt.Time, RetiredAt: given(k.RetiredAt)}
	}
	return list, nil
}

// given returns nil for the zero time.
func given(t models.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t.Time
}

func printKeys(cmd *cobra.Command, list []admin.SigningKey, asJSON bool) error {
	if asJSON {
		return printJSON(cmd, admin.Page[admin.SigningKey]{Items: list})
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KID\tALGORITHM\tSTATE\tCREATED\tSIGNS FROM")
	for _, k := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.Kid, k.Algorithm, k.State, stamp(models.At(k.CreatedAt)), stamp(models.At(k.ActivatesAt)))
	}
	return w.Flush()
}

func noTenant(err error, tenant string) error {
	if errors.Is(err, models.ErrNotFound) {
		return fmt.Errorf("there is no tenant %q", tenant)
	}
	return err
}

func stamp(t models.Time) string { return t.Format(time.RFC3339) }
