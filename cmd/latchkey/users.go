package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/sdk/go/admin"
	"github.com/latchkey/latchkey/settings"
)

func newUsers(s *sharedFlags) *cobra.Command {
	var tenant string
	users := group("users", "List, show or delete users of a tenant")
	users.Long = "Lists, shows or deletes users of a tenant." + remoteHelp
	s.addRemote(users)
	users.Example = "  latchkey users list\n  latchkey users list --server https://admin.example.com --key-file admin-key\n  latchkey users show alice\n  latchkey users delete alice --tenant acme"
	users.PersistentFlags().StringVar(&tenant, "tenant", settings.DefaultTenant, "id of the tenant")
	users.AddCommand(newUsersList(s, &tenant), &cobra.Command{
		Use: "show SUB", Short: "Show what is stored about a user, and who set each attribute", Args: oneUser,
		Example: "  latchkey users show alice --tenant acme",
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.either(cmd, func(client *admin.Client) error {
				user, err := client.Users.Get(cmd.Context(), tenant, args[0])
				if err != nil {
					return s.absent(err, "tenant %q has no user %q", tenant, args[0])
				}
				stored := &models.User{Sub: user.Sub, TenantID: tenant, Attributes: user.Attributes, Disabled: user.Disabled, Suspended: user.Status.Suspended}
				return showUser(cmd.OutOrStdout(), stored, user.Status.AttributesBy, user.Status.Sessions)
			}, func() error {
				return withKeys(cmd, s, func(store *models.Store, _ *keys.Roots) error {
					user, err := store.User(cmd.Context(), tenant, args[0])
					if err != nil {
						return noUser(err, tenant, args[0])
					}
					var live *int
					n, err := store.LiveSessions(cmd.Context(), models.Ref{Kind: models.KindUser, Tenant: tenant, ID: args[0]})
					if err == nil {
						live = &n
					} else if !errors.Is(err, models.ErrTooManyStored) {
						return err
					}
					setters, err := store.Setters(cmd.Context(), user)
					if err != nil {
						return err
					}
					return showUser(cmd.OutOrStdout(), user, setters, live)
				})
			})
		},
	}, &cobra.Command{
		Use: "delete SUB", Short: "Delete a user and everything personal about them", Args: oneUser,
		Long: `Deletes the user and their attributes, ends their sessions and deletes the data
about their devices. In the event log, a random pseudonym replaces the user, and
addresses, user agents and device names are removed. This cannot be undone.

A deleted user can sign in again and is then a new user. To keep somebody out,
suspend them: a suspension outlasts the deletion.`,
		Example: "  latchkey users delete alice --tenant acme",
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.either(cmd, func(client *admin.Client) error {
				done, err := client.Users.Delete(cmd.Context(), tenant, args[0])
				if err != nil {
					return s.absent(err, "tenant %q has no user %q", tenant, args[0])
				}
				printDeleted(cmd, tenant, args[0], &models.Deletion{Pseudonym: done.Pseudonym, Sessions: done.Sessions, Suspended: done.Suspended, WasDisabled: done.WasDisabled, Receivers: done.Receivers})
				return nil
			}, func() error {
				return withKeys(cmd, s, func(store *models.Store, _ *keys.Roots) error {
					done, err := store.DeleteUser(cmd.Context(), tenant, args[0], machine())
					if done == nil {
						return noUser(err, tenant, args[0])
					}
					printDeleted(cmd, tenant, args[0], done)
					if err != nil {
						return fmt.Errorf("the user is deleted, but events may still name them until a running server has processed the event log: %w", err)
					}
					return nil
				})
			})
		},
	})
	return users
}

func oneUser(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("give one SUB: the sub of the user's tokens")
	}
	return nil
}

func noUser(err error, tenant, sub string) error {
	if errors.Is(err, models.ErrNotFound) {
		return fmt.Errorf("tenant %q has no user %q", tenant, sub)
	}
	return err
}

// showUser prints a user. setters maps each attribute to who set it. sessions is nil if
// the live sessions were not counted.
func showUser(out io.Writer, user *models.User, setters map[string]string, sessions *int) error {
	live := "too many stored sessions to count the live ones"
	switch {
	case sessions == nil:
	case *sessions > models.ManySessions:
		live = fmt.Sprintf("more than %d live sessions", models.ManySessions)
	default:
		live = plural(*sessions, "live session")
	}
	fmt.Fprintf(out, "user %s of tenant %s, %s\n", user.Sub, user.TenantID, live)
	if user.Disabled {
		fmt.Fprintln(out, "disabled by the configuration")
	}
	if user.Suspended {
		fmt.Fprintln(out, "suspended; run latchkey suspend --list to see since when and why")
	}
	for _, name := range slices.Sorted(maps.Keys(user.Attributes)) {
		text, err := json.Marshal(user.Attributes[name])
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s: %s (set by: %s)\n", name, text, setters[name])
	}
	return nil
}

func printDeleted(cmd *cobra.Command, tenant, sub string, done *models.Deletion) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "Deleted user %s of tenant %s. %s ended. In the event log, %s replaces the user.\n", sub, tenant, plural(done.Sessions, "session"), done.Pseudonym)
	if len(done.Receivers) > 0 {
		fmt.Fprintf(out, "These event destinations may have received events about the user: %s. Their receivers keep what they have received: delete it there.\n", strings.Join(done.Receivers, ", "))
	}
	switch {
	case done.Suspended:
		fmt.Fprintln(out, "The suspension remains: nobody with this sub can sign in until it is lifted.")
	case done.WasDisabled:
		ref := models.Ref{Kind: models.KindUser, Tenant: tenant, ID: sub}
		fmt.Fprintf(out, "The user was disabled; the deletion has removed this too. To keep them out: latchkey suspend user %s --tenant %s%s\n", shellWord(ref.ID), ref.Tenant, configFlag(cmd))
	}
}
