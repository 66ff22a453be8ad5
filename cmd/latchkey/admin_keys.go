package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

func newAdminKeys(s *sharedFlags) *cobra.Command {
	keys := group("admin-keys", "Create, list and revoke keys of the admin API")
	keys.Long = `Manages the keys of the admin API and the console. Run it on the server, because it
needs the server's configuration with its database and root secret. An owner can
create more keys through the admin API.`
	keys.Example = "  latchkey admin-keys create --name \"Anna's laptop\" --role owner\n  latchkey admin-keys list"
	keys.AddCommand(newAdminKeysCreate(s), newAdminKeysList(s), newAdminKeysRevoke(s))
	return keys
}

func newAdminKeysCreate(s *sharedFlags) *cobra.Command {
	var name, role, expires string
	var tenants []string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Create a key and print it once",
		Long: `Creates a key of the admin API and prints it. The key is not stored, so it cannot be
printed again.

Roles:
  owner    everything, in every tenant: admin keys, tenants, private addresses
  admin    everything inside its tenants
  support  reads clients and trusted issuers; searches users and sessions, ends
           sessions, and explains rejected tokens
  viewer   reads everything except secrets, exports and the contents of changes

Without --tenant, the key is valid for every tenant, including future ones.`,
		Example: `  latchkey admin-keys create --name "Anna's laptop" --role owner
  latchkey admin-keys create --name "support desk" --role support --tenant acme --expires 90d`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			spec := oauth.AdminKeySpec{Name: name, Role: models.Role(role), Tenants: tenants}
			if expires != "" {
				life, err := settings.ParseDuration(expires)
				if err != nil || life <= 0 {
					return errors.New(`--expires must be a duration such as "90d" or "12h"`)
				}
				spec.ExpiresAt = time.Now().Add(life.Std())
			}
			if faults := spec.Validate(time.Now()); len(faults) > 0 {
				return fmt.Errorf("the key was not created:\n%w", faults)
			}
			return withKeys(cmd, s, func(store *models.Store, keys *oauth.Keys) error {
				key, row := keys.NewAdminKey()
				spec.Fill(&row)
				by := machine()
				row.CreatedBy = by.Name
				if err := store.CreateAdminKey(cmd.Context(), &row, by); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), key)
				fmt.Fprintf(cmd.ErrOrStderr(), "The key has the id %s. Store it now: it is not printed again.\n", row.ID)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "who or what uses the key (required)")
	cmd.Flags().StringVar(&role, "role", "", "owner, admin, support or viewer (required)")
	cmd.Flags().StringArrayVar(&tenants, "tenant", nil, "id of a tenant for which the key is valid; may be repeated")
	cmd.Flags().StringVar(&expires, "expires", "", "lifetime of the key, such as 90d; default: unlimited")
	return cmd
}

func newAdminKeysList(s *sharedFlags) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the keys",
		Long:    "Lists the active keys, and with --all also revoked and expired ones. The keys\nthemselves are not stored and cannot be shown.",
		Example: "  latchkey admin-keys list\n  latchkey admin-keys list --all",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withKeys(cmd, s, func(store *models.Store, _ *oauth.Keys) error {
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ID\tNAME\tROLE\tTENANTS\tCREATED\tBY\tEXPIRES\tLAST USED\tSTATE")
				after, now := "", store.Now()
				for {
					const page = 500
					list, err := store.AdminKeys(cmd.Context(), after, page)
					if err != nil {
						return err
					}
					for _, k := range list {
						after = k.ID
						if !k.Usable(now) && !all {
							continue
						}
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Role, tenantList(k.Tenants),
							stamp(k.CreatedAt), k.CreatedBy, orNever(k.ExpiresAt), orNever(k.LastUsedAt), adminKeyState(k, now))
					}
					if len(list) < page {
						return w.Flush()
					}
				}
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "list revoked and expired keys too")
	return cmd
}

func newAdminKeysRevoke(s *sharedFlags) *cobra.Command {
	var descendants bool
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a key",
		Long: `Revokes a key. Every server rejects the next request with it. Keys that were created
with it stay valid, unless --with-descendants revokes them too.`,
		Example: "  latchkey admin-keys revoke k7fq2mhc5wz9xd3t --with-descendants",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withKeys(cmd, s, func(store *models.Store, _ *oauth.Keys) error {
				revoked, err := store.RevokeAdminKey(cmd.Context(), args[0], descendants, true, machine())
				if errors.Is(err, models.ErrNotFound) {
					return fmt.Errorf("there is no admin key with the id %q; run latchkey admin-keys list to see the keys", args[0])
				}
				if err != nil {
					return err
				}
				for _, id := range revoked {
					fmt.Fprintf(cmd.OutOrStdout(), "Revoked %s.\n", id)
				}
				if len(revoked) == 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "%s was already revoked.\n", args[0])
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&descendants, "with-descendants", false, "also revoke every key that was created with it, directly or through another key")
	return cmd
}

func tenantList(tenants []string) string {
	if tenants == nil {
		return "all"
	}
	return strings.Join(tenants, ",")
}

func orNever(t models.Time) string {
	if t.IsZero() {
		return "never"
	}
	return stamp(t)
}

func adminKeyState(k models.AdminKey, now time.Time) string {
	switch {
	case !k.RevokedAt.IsZero():
		return "revoked"
	case !k.Usable(now):
		return "expired"
	}
	return "active"
}
