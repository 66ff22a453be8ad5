package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/sdk/go/admin"
	"github.com/latchkey/latchkey/settings"
)

func newSuspend(s *sharedFlags) *cobra.Command {
	var tenant, reason string
	var list, dryRun bool
	cmd := &cobra.Command{
		Use:   "suspend tenant|client|issuer|user ID",
		Short: "Disable a tenant, client, issuer or user at once, regardless of any file",
		Long: `Disables a tenant, client, issuer or user and ends its sessions, as
"disabled: true" does, but at once and independently of every configuration file.
Only "latchkey resume" enables it again; "apply" and the start of a server do not.

ID is the id of a tenant or client, the sub of a user, or the entry id or URL of a
trusted issuer. The URL suspends every entry with this URL, now and later. An entry
stays suspended when its URL changes.

Refreshes and sign-ins of a user or issuer are rejected as soon as the command
returns, and those of a client or tenant within 5 seconds on every server. A
suspension outlasts renaming, removing, pruning, deleting and creating again. An
id that is not in use yet can be suspended too.` + remoteHelp,
		Example: `  latchkey suspend client web --reason "secret leaked, ticket 4711"
  latchkey suspend user alice --tenant acme
  latchkey suspend issuer https://auth.example.com --dry-run
  latchkey suspend client web --server https://admin.example.com --key-file admin-key
  latchkey suspend --list
  latchkey suspend --list --tenant acme --server https://admin.example.com --key-file admin-key`,
		Args: kindAndID(&list),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ref models.Ref
			if !list {
				var err error
				if ref, err = readRef(cmd, args, tenant); err != nil {
					return err
				}
			}
			if strings.ContainsFunc(reason, unicode.IsControl) {
				return errors.New("--reason must be one line without control characters")
			}
			return s.either(cmd, func(client *admin.Client) error {
				if list {
					if !cmd.Flags().Changed("tenant") {
						tenant = ""
					}
					return listSuspensionsRemotely(cmd, client, tenant)
				}
				return s.suspendRemotely(cmd, client, ref, admin.SuspendOptions{Reason: reason, DryRun: dryRun})
			}, func() error {
				return withKeys(cmd, s, func(store *models.Store, roots *keys.Roots) error {
					if list {
						return listSuspensions(cmd, store, roots, cmd.Flags().Changed("tenant"), tenant)
					}
					out := cmd.OutOrStdout()
					printLiveSessions(cmd.Context(), out, store, ref)
					if dryRun {
						fmt.Fprintln(out, "This was a dry run: nothing was changed.")
						return nil
					}
					done, err := store.Suspend(cmd.Context(), roots, ref, machine(), reason)
					if err != nil {
						return err
					}
					printSuspended(cmd, ref, done)
					return nil
				})
			})
		},
	}
	s.addRemote(cmd)
	cmd.Flags().StringVar(&tenant, "tenant", settings.DefaultTenant, "id of the tenant that the client, issuer or user belongs to")
	cmd.Flags().StringVar(&reason, "reason", "", "the reason, for other operators")
	cmd.Flags().BoolVar(&list, "list", false, "list the suspensions")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print how many sessions would end, without changing anything")
	return cmd
}

func newResume(s *sharedFlags) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "resume tenant|client|issuer|user ID",
		Short: "Lift the suspension of a tenant, client, issuer or user",
		Long: `Lifts a suspension. The ended sessions stay ended, so users have to sign in again.
Whatever the configuration disables stays disabled.

ID is the id with which "latchkey suspend" was run. For an issuer, it may also be
the entry id or the entry's present URL, unless the suspension applies to other
entries too.` + remoteHelp,
		Example: `  latchkey resume client web
  latchkey resume user alice --tenant acme
  latchkey resume client web --server https://admin.example.com --key-file admin-key`,
		Args: kindAndID(new(bool)),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := readRef(cmd, args, tenant)
			if err != nil {
				return err
			}
			return s.either(cmd, func(client *admin.Client) error {
				return s.resumeRemotely(cmd, client, ref)
			}, func() error {
				return withKeys(cmd, s, func(store *models.Store, roots *keys.Roots) error {
					lifted, err := store.Resume(cmd.Context(), roots, ref, machine())
					if errors.Is(err, models.ErrNotSuspended) {
						return fmt.Errorf("%s is not suspended; run latchkey suspend --list to see the suspensions", describe(ref))
					}
					if errors.Is(err, models.ErrOtherName) {
						return fmt.Errorf("%s was not resumed: %w", describe(ref), err)
					}
					if err != nil {
						return err
					}
					printResumed(cmd, ref, lifted)
					return nil
				})
			})
		},
	}
	s.addRemote(cmd)
	cmd.Flags().StringVar(&tenant, "tenant", settings.DefaultTenant, "id of the tenant that the client, issuer or user belongs to")
	return cmd
}

// kindAndID requires the two arguments, unless the command only lists.
func kindAndID(list *bool) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case *list && len(args) > 0:
			return errors.New("--list takes no arguments")
		case !*list && len(args) != 2:
			return fmt.Errorf("two arguments are required: one of %s, and an id, as in: client web", strings.Join(models.Kinds, ", "))
		case !*list && !slices.Contains(models.Kinds, args[0]):
			return fmt.Errorf("%q cannot be suspended: the first argument must be one of %s", args[0], strings.Join(models.Kinds, ", "))
		}
		return nil
	}
}

// readRef reads the arguments. A tenant does not belong to another tenant.
func readRef(cmd *cobra.Command, args []string, tenant string) (models.Ref, error) {
	ref := models.Ref{Kind: args[0], Tenant: tenant, ID: args[1]}
	if ref.Kind == models.KindTenant {
		if cmd.Flags().Changed("tenant") && tenant != ref.ID {
			return ref, errors.New("--tenant applies only to clients, issuers and users: give the id of the tenant as the argument")
		}
		ref.Tenant = ref.ID
	}
	if !settings.ValidTenantID(ref.Tenant) {
		return ref, fmt.Errorf("%q is not a valid tenant id", ref.Tenant)
	}
	if ref.ID == "" || strings.ContainsRune(ref.ID, 0) {
		return ref, errors.New("the id is empty or contains NUL")
	}
	return ref, nil
}

// describe returns the name of ref, with its tenant.
func describe(ref models.Ref) string {
	if ref.Kind == models.KindTenant {
		return "tenant " + ref.ID
	}
	return fmt.Sprintf("%s %s of tenant %s", ref.Kind, printable(ref.ID), ref.Tenant)
}

// printable returns an id that is safe to print: a sub may contain any character.
func printable(id string) string {
	if strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(id)
	}
	return id
}

// machine returns the user who runs the command, with the highest role.
func machine() models.Actor {
	name := "cli"
	if who, err := user.Current(); err == nil {
		name += " " + who.Username
		if host, err := os.Hostname(); err == nil {
			name += "@" + host
		}
	}
	return models.Actor{Name: name, Role: models.RoleMachine}
}

// printLiveSessions prints how many sessions end. If counting takes too long, it
// gives up, because the caller acts in an emergency.
func printLiveSessions(ctx context.Context, out io.Writer, store *models.Store, ref models.Ref) {
	n, err := store.LiveSessions(ctx, ref)
	printEnding(out, ref, n, err == nil)
}

// printEnding prints how many sessions end, if they were counted.
func printEnding(out io.Writer, ref models.Ref, n int, counted bool) {
	switch {
	case !counted:
		fmt.Fprintf(out, "The sessions of %s were not counted: there are too many, or the database took too long.\n", describe(ref))
	case n > models.ManySessions:
		fmt.Fprintf(out, "More than %d live sessions of %s end.\n", models.ManySessions, describe(ref))
	case n == 1:
		fmt.Fprintf(out, "1 live session of %s ends.\n", describe(ref))
	default:
		fmt.Fprintf(out, "%s of %s end.\n", plural(n, "live session"), describe(ref))
	}
}

func printSuspended(cmd *cobra.Command, ref models.Ref, done *models.Suspended) {
	out := cmd.OutOrStdout()
	if !done.Exists {
		fmt.Fprintf(out, "! This id does not exist: check the spelling. If it is created later, it is suspended from the start.\n")
	}
	if done.Already {
		fmt.Fprintf(out, "%s is already %s.\n", upperFirst(describe(ref)), done)
	} else {
		fmt.Fprintf(out, "Suspended %s.", describe(ref))
		if ref.Kind == models.KindTenant || ref.Kind == models.KindClient {
			fmt.Fprint(out, " This takes effect on every server within 5 seconds.")
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "To lift the suspension: %s\n", resumeCommand(cmd, ref))
}

func printResumed(cmd *cobra.Command, ref models.Ref, lifted *models.Suspended) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "Resumed %s. It was %s.\n", describe(ref), lifted)
	other := func(name string) string {
		return resumeCommand(cmd, models.Ref{Kind: ref.Kind, Tenant: ref.Tenant, ID: name})
	}
	if off := lifted.StaysOff; off != nil {
		fmt.Fprintf(out, "! It stays disabled, because it is also %s. To lift that suspension: %s\n", off, other(off.ID))
		return
	}
	if url := lifted.Followed; url != nil {
		fmt.Fprintf(out, "The URL that it had when it was suspended stays suspended, for every entry with this URL. To lift that suspension too: %s\n", other(url.Name))
	}
	fmt.Fprintln(out, "Its ended sessions stay ended. This takes effect on every server within 5 seconds.")
}

// resumeCommand returns the command that lifts the suspension.
func resumeCommand(cmd *cobra.Command, ref models.Ref) string {
	return resumeWithoutConfig(ref) + configFlag(cmd)
}

// resumeWithoutConfig is resumeCommand without the --config flag.
func resumeWithoutConfig(ref models.Ref) string {
	text := fmt.Sprintf("latchkey resume %s %s", ref.Kind, shellWord(ref.ID))
	if ref.Kind != models.KindTenant && ref.Tenant != settings.DefaultTenant {
		text += " --tenant " + ref.Tenant
	}
	return text
}

// configFlag returns the --config flag, or --server, with which another command works
// on the same deployment. It is empty if the environment does that.
func configFlag(cmd *cobra.Command) string {
	if server := cmd.Flag("server"); server != nil && server.Value.String() != "" {
		text := ""
		if server.Value.String() != os.Getenv("LATCHKEY_SERVER") {
			text = " --server " + shellWord(server.Value.String())
		}
		if file := cmd.Flag("key-file").Value.String(); file != "" {
			text += " --key-file " + shellWord(file)
		}
		return text
	}
	path := cmd.Flag("config").Value.String()
	if path == "" || path == os.Getenv("LATCHKEY_CONFIG") {
		return ""
	}
	return " --config " + shellWord(path)
}

// shellWord quotes text as one shell word without control characters.
func shellWord(text string) string {
	plain := func(r rune) bool {
		return strings.ContainsRune("/._-+:,@%", r) || unicode.IsLetter(r) || unicode.IsDigit(r)
	}
	switch quoted := strings.ReplaceAll(text, "'", `'\''`); {
	case text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }):
		return text
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		escaped := strconv.Quote(text) // bash has the same escapes
		return "$'" + strings.ReplaceAll(escaped[1:len(escaped)-1], "'", `\'`) + "'"
	default:
		return "'" + quoted + "'"
	}
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func listSuspensions(cmd *cobra.Command, store *models.Store, roots *keys.Roots, oneTenant bool, tenant string) error {
	if !oneTenant {
		tenant = ""
	}
	list, err := store.Suspensions(cmd.Context(), roots, tenant)
	if err != nil {
		return err
	}
	return printSuspensions(cmd.OutOrStdout(), list)
}

// printSuspensions prints a table of suspensions.
func printSuspensions(out io.Writer, list []models.Suspension) error {
	if len(list) == 0 {
		fmt.Fprintln(out, "Nothing is suspended.")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TENANT\tKIND\tID\tSINCE\tBY\tREASON")
	for _, s := range list {
		id := printable(s.ID)
		switch {
		case s.ID == "":
			id = fmt.Sprintf("(does not exist; digest %.4x)", s.IDDigest)
		case !s.Exists:
			id += " (does not exist)"
		case s.FollowsURL != "":
			id += " (suspended as " + printable(s.FollowsURL) + ")"
		}
		by := s.SuspendedBy
		if by == "" {
			by = "(unknown)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.TenantID, s.Kind, id, stamp(s.SuspendedAt), by, s.Reason)
	}
	return w.Flush()
}

// warnSuspended prints which objects of a configuration are suspended, because
// applying it does not lift their suspension.
func warnSuspended(cmd *cobra.Command, store *models.Store, roots *keys.Roots, tenants []settings.TenantSpec) error {
	list, err := store.SuspendedAmong(cmd.Context(), roots, tenants)
	if err != nil {
		return err
	}
	for _, s := range list {
		ref := models.Ref{Kind: s.Kind, Tenant: s.TenantID, ID: s.ID}
		fmt.Fprintf(cmd.OutOrStdout(), "! %s is %s. To lift the suspension: %s\n", describe(ref), s, resumeCommand(cmd, ref))
	}
	return nil
}
