package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/sdk/go/admin"
	"github.com/latchkey/latchkey/settings"
)

func newAdminKeys(s *sharedFlags) *cobra.Command {
	parent := group("admin-keys", "Create, list and revoke keys of the admin API, and sign in to the console")
	parent.Long = `Manages the keys of the admin API and the console. Create the first key on the
server, where the command finds the configuration with the database and the root
secret. With an owner's key, the command works from elsewhere too.` + remoteHelp
	parent.Example = "  latchkey admin-keys create --name \"Anna's laptop\" --role owner\n  latchkey admin-keys list\n  latchkey admin-keys list --server https://admin.example.com --key-file admin-key"
	s.addRemote(parent)
	parent.AddCommand(newAdminKeysCreate(s), newAdminKeysList(s), newAdminKeysRevoke(s), newAdminKeysLink(s))
	return parent
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

Without --tenant, the key is valid for every tenant, including future ones. A key
that was created over the admin API never outlives the key that created it.`,
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
			created := func(key, id string) error {
				fmt.Fprintln(cmd.OutOrStdout(), key)
				_, err := fmt.Fprintf(cmd.ErrOrStderr(), "The key has the id %s. Store it now: it is not printed again.\n", id)
				return err
			}
			return s.either(cmd, func(client *admin.Client) error {
				made, err := client.AdminKeys.Create(cmd.Context(), admin.NewAdminKey{Name: name, Role: role, Tenants: tenants, ExpiresAt: expires})
				if err != nil {
					return err
				}
				return created(made.Key, made.ID)
			}, func() error {
				return withKeys(cmd, s, func(store *models.Store, roots *keys.Roots) error {
					key, row := roots.NewAdminKey()
					spec.Fill(&row)
					by := machine()
					row.CreatedBy = by.Name
					if err := store.CreateAdminKey(cmd.Context(), &row, by); err != nil {
						return err
					}
					return created(key, row.ID)
				})
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "who or what uses the key (required)")
	cmd.Flags().StringVar(&role, "role", "", "owner, admin, support or viewer (required)")
	cmd.Flags().StringArrayVar(&tenants, "tenant", nil, "id of a tenant for which the key is valid; may be repeated")
	cmd.Flags().StringVar(&expires, "expires", "", "lifetime of the key, such as 90d; default: unlimited, or that of the key that creates it")
	return cmd
}

func newAdminKeysList(s *sharedFlags) *cobra.Command {
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the keys",
		Long:    "Lists the active keys, and with --all also revoked and expired ones. The keys\nthemselves are not stored and cannot be shown.",
		Example: "  latchkey admin-keys list\n  latchkey admin-keys list --all",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := []admin.AdminKey{}
			add := func(k admin.AdminKey) {
				if all || k.State == "active" {
					list = append(list, k)
				}
			}
			err := s.either(cmd, func(client *admin.Client) error {
				for k, err := range client.AdminKeys.List(cmd.Context()) {
					if err != nil {
						return err
					}
					add(k)
				}
				return nil
			}, func() error {
				return withKeys(cmd, s, func(store *models.Store, _ *keys.Roots) error {
					return storedAdminKeys(cmd.Context(), store, add)
				})
			})
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(cmd, admin.Page[admin.AdminKey]{Items: list})
			}
			return printAdminKeys(cmd, list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	cmd.Flags().BoolVar(&all, "all", false, "list revoked and expired keys too")
	return cmd
}

// storedAdminKeys calls add with every key in the database.
func storedAdminKeys(ctx context.Context, store *models.Store, add func(admin.AdminKey)) error {
	const page = 500
	for after, now := "", store.Now(); ; {
		list, err := store.AdminKeys(ctx, after, page)
		if err != nil {
			return err
		}
		for _, k := range list {
			after = k.ID
			add(admin.AdminKey{
				ID: k.ID, Name: k.Name, Role: string(k.Role), Tenants: k.Tenants, State: adminKeyState(k, now), CreatedAt: k.CreatedAt.Time, CreatedBy: k.CreatedBy,
				ParentID: k.ParentID, ExpiresAt: given(k.ExpiresAt), LastUsedAt: given(k.LastUsedAt), RevokedAt: given(k.RevokedAt),
			})
		}
		if len(list) < page {
			return nil
		}
	}
}

func printAdminKeys(cmd *cobra.Command, list []admin.AdminKey) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tROLE\tTENANTS\tCREATED\tBY\tEXPIRES\tLAST USED\tSTATE")
	for _, k := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Role, tenantList(k.Tenants),
			stamp(models.At(k.CreatedAt)), k.CreatedBy, orNever(k.ExpiresAt), orNever(k.LastUsedAt), k.State)
	}
	return w.Flush()
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
			const unknown = "there is no admin key with the id %q; run latchkey admin-keys list to see the keys"
			var revoked []string
			err := s.either(cmd, func(client *admin.Client) (err error) {
				revoked, err = client.AdminKeys.Revoke(cmd.Context(), args[0], descendants)
				if hasStatus(err, 404) {
					return fmt.Errorf(unknown, args[0])
				}
				return err
			}, func() error {
				return withKeys(cmd, s, func(store *models.Store, _ *keys.Roots) (err error) {
					revoked, err = store.RevokeAdminKey(cmd.Context(), args[0], descendants, true, machine())
					if errors.Is(err, models.ErrNotFound) {
						return fmt.Errorf(unknown, args[0])
					}
					return err
				})
			})
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

func orNever(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return stamp(models.At(*t))
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
