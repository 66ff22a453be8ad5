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

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

func newSuspend(s *sharedFlags) *cobra.Command {
	var tenant, reason string
	var list, dryRun bool
	cmd := &cobra.Command{
		Use:   "suspend NOUN ID",
		Short: "Switch a tenant, client, issuer or user off at once, whatever any file says",
		Long: `Switches a tenant, client, issuer or user off and ends its sessions, as
"disabled: true" does, but at once and from outside every configuration file:
no "apply", no restart of a server and no other file switches it on again. Only
"latchkey resume" does.

NOUN is tenant, client, issuer or user. ID is the id of the tenant or client,
the sub of the user, or for an issuer the id of its entry or its URL; the URL
stands for every entry that has it, now or later. An entry that gets another URL
stays suspended.

Refreshes and sign-ins of a user or an issuer are refused as soon as the command
returns; those of a client or a tenant within 5 seconds on every server. What is
suspended stays so when it is renamed in a file, removed, pruned or deleted and
made again. An id that nothing has yet can be suspended too.`,
		Example: `  latchkey suspend client web --reason "secret leaked, ticket 4711"
  latchkey suspend user alice --tenant acme
  latchkey suspend issuer https://auth.example.com --dry-run
  latchkey suspend --list`,
		Args: nounAndID(&list),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withKeys(cmd, s, func(store *models.Store, keys *oauth.Keys) error {
				if list {
					return listSuspensions(cmd, store, keys, cmd.Flags().Changed("tenant"), tenant)
				}
				ref, err := readRef(cmd, args, tenant)
				if err != nil {
					return err
				}
				if strings.ContainsFunc(reason, unicode.IsControl) {
					return errors.New("--reason is one line of text, without control characters")
				}
				out := cmd.OutOrStdout()
				sayLiveSessions(cmd.Context(), out, store, ref)
				if dryRun {
					fmt.Fprintln(out, "Nothing was changed: this was a dry run.")
					return nil
				}
				done, err := store.Suspend(cmd.Context(), keys, ref, machine(), reason)
				if err != nil {
					return err
				}
				saySuspended(cmd, ref, done)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", settings.DefaultTenant, "id of the tenant that the client, issuer or user belongs to")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for other operators to read")
	cmd.Flags().BoolVar(&list, "list", false, "list what is suspended")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print how many sessions would end, and change nothing")
	return cmd
}

func newResume(s *sharedFlags) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "resume NOUN ID",
		Short: "Switch what was suspended on again",
		Long: `Lifts a suspension. Sessions that were open before stay ended: users sign in
again. What its configuration disables stays disabled.

ID is what was suspended. An issuer is also found by the id of its entry and by
the URL that the entry has now, unless that suspension switches other entries off
too.`,
		Example: `  latchkey resume client web
  latchkey resume user alice --tenant acme`,
		Args: nounAndID(new(bool)),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := readRef(cmd, args, tenant)
			if err != nil {
				return err
			}
			return withKeys(cmd, s, func(store *models.Store, keys *oauth.Keys) error {
				lifted, err := store.Resume(cmd.Context(), keys, ref, machine())
				if errors.Is(err, models.ErrNotSuspended) {
					return fmt.Errorf("%s is not suspended; latchkey suspend --list shows what is", describe(ref))
				}
				if errors.Is(err, models.ErrOtherName) {
					return fmt.Errorf("%s was not resumed: %w", describe(ref), err)
				}
				if err != nil {
					return err
				}
				sayResumed(cmd, ref, lifted)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", settings.DefaultTenant, "id of the tenant that the client, issuer or user belongs to")
	return cmd
}

// nounAndID requires the two arguments, unless the command only lists.
func nounAndID(list *bool) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case *list && len(args) > 0:
			return errors.New("--list takes no arguments")
		case !*list && len(args) != 2:
			return fmt.Errorf("give a noun (%s) and an id, as in: client web", strings.Join(models.Nouns, ", "))
		case !*list && !slices.Contains(models.Nouns, args[0]):
			return fmt.Errorf("%q cannot be suspended: the noun must be one of %s", args[0], strings.Join(models.Nouns, ", "))
		}
		return nil
	}
}

// readRef reads the arguments. A tenant is in no tenant.
func readRef(cmd *cobra.Command, args []string, tenant string) (models.Ref, error) {
	ref := models.Ref{Noun: args[0], Tenant: tenant, ID: args[1]}
	if ref.Noun == models.NounTenant {
		if cmd.Flags().Changed("tenant") && tenant != ref.ID {
			return ref, errors.New("--tenant is for clients, issuers and users; the id of the tenant is the argument")
		}
		ref.Tenant = ref.ID
	}
	if !settings.ValidTenantID(ref.Tenant) {
		return ref, fmt.Errorf("no tenant can have the id %q", ref.Tenant)
	}
	if ref.ID == "" || strings.ContainsRune(ref.ID, 0) {
		return ref, errors.New("the id is empty or contains NUL")
	}
	return ref, nil
}

// describe names what is suspended, with its tenant.
func describe(ref models.Ref) string {
	if ref.Noun == models.NounTenant {
		return "tenant " + ref.ID
	}
	return fmt.Sprintf("%s %s of tenant %s", ref.Noun, printable(ref.ID), ref.Tenant)
}

// printable is an id as a terminal may show it: a sub may hold anything.
func printable(id string) string {
	if strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(id)
	}
	return id
}

// machine is whoever runs the command, the highest of all roles.
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

// sayLiveSessions prints how many sessions end. A count that the database
// takes too long for must not hold up an emergency.
func sayLiveSessions(ctx context.Context, out io.Writer, store *models.Store, ref models.Ref) {
	n, err := store.LiveSessions(ctx, ref)
	switch {
	case err != nil:
		fmt.Fprintf(out, "The sessions of %s could not be counted in time.\n", describe(ref))
	case n > models.ManySessions:
		fmt.Fprintf(out, "More than %d live sessions of %s end.\n", models.ManySessions, describe(ref))
	case n == 1:
		fmt.Fprintf(out, "1 live session of %s ends.\n", describe(ref))
	default:
		fmt.Fprintf(out, "%s of %s end.\n", plural(n, "live session"), describe(ref))
	}
}

func saySuspended(cmd *cobra.Command, ref models.Ref, done *models.Suspended) {
	out := cmd.OutOrStdout()
	if !done.Exists {
		fmt.Fprintf(out, "! Nothing has this id now: check the spelling. What is made with it later is suspended from the start.\n")
	}
	if done.Already {
		fmt.Fprintf(out, "%s is already %s.\n", upperFirst(describe(ref)), done)
	} else {
		fmt.Fprintf(out, "Suspended %s.", describe(ref))
		if ref.Noun == models.NounTenant || ref.Noun == models.NounClient {
			fmt.Fprint(out, " Every server knows within 5 seconds.")
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "To switch it on again: %s\n", resumeCommand(cmd, ref))
}

func sayResumed(cmd *cobra.Command, ref models.Ref, lifted *models.Suspended) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "Resumed %s. It was %s.\n", describe(ref), lifted)
	other := func(name string) string {
		return resumeCommand(cmd, models.Ref{Noun: ref.Noun, Tenant: ref.Tenant, ID: name})
	}
	if off := lifted.StaysOff; off != nil {
		fmt.Fprintf(out, "! It stays off, because it is also %s. To switch it on: %s\n", off, other(off.ID))
		return
	}
	if url := lifted.Followed; url != nil {
		fmt.Fprintf(out, "The URL that it had when it was suspended stays suspended for every entry that has it. To lift that too: %s\n", other(url.Name))
	}
	fmt.Fprintln(out, "Sessions from before stay ended. Every server knows within 5 seconds.")
}

// resumeCommand is what lifts the suspension.
func resumeCommand(cmd *cobra.Command, ref models.Ref) string {
	return resumeWords(ref) + configFlag(cmd)
}

// resumeWords is resumeCommand for who knows the configuration.
func resumeWords(ref models.Ref) string {
	text := fmt.Sprintf("latchkey resume %s %s", ref.Noun, shellWord(ref.ID))
	if ref.Noun != models.NounTenant && ref.Tenant != settings.DefaultTenant {
		text += " --tenant " + ref.Tenant
	}
	return text
}

// configFlag is what another command needs to find the configuration of this
// one: nothing where the environment names it.
func configFlag(cmd *cobra.Command) string {
	path := cmd.Flag("config").Value.String()
	if path == "" || path == os.Getenv("LATCHKEY_CONFIG") {
		return ""
	}
	return " --config " + shellWord(path)
}

// shellWord is text as one word of a shell, without control characters.
func shellWord(text string) string {
	plain := func(r rune) bool {
		return strings.ContainsRune("/._-+:,@%", r) || unicode.IsLetter(r) || unicode.IsDigit(r)
	}
	switch quoted := strings.ReplaceAll(text, "'", `'\''`); {
	case text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }):
		return text
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		escaped := strconv.Quote(text) // whose escapes are bash's too
		return "$'" + strings.ReplaceAll(escaped[1:len(escaped)-1], "'", `\'`) + "'"
	default:
		return "'" + quoted + "'"
	}
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func listSuspensions(cmd *cobra.Command, store *models.Store, keys *oauth.Keys, oneTenant bool, tenant string) error {
	if !oneTenant {
		tenant = ""
	}
	list, err := store.Suspensions(cmd.Context(), keys, tenant)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "Nothing is suspended.")
		return nil
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TENANT\tNOUN\tID\tSINCE\tBY\tREASON")
	for _, s := range list {
		id := printable(s.ID)
		switch {
		case s.ID == "":
			id = fmt.Sprintf("(nothing has it now; digest %.4x)", s.IDDigest)
		case !s.Exists:
			id += " (nothing has it now)"
		case s.As != "":
			id += " (suspended as " + printable(s.As) + ")"
		}
		by := s.SuspendedBy
		if by == "" {
			by = "(not known)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.TenantID, s.Noun, id, stamp(s.SuspendedAt), by, s.Reason)
	}
	return w.Flush()
}

// warnSuspended prints which nouns of a configuration are suspended: applying
// it does not switch them on.
func warnSuspended(cmd *cobra.Command, store *models.Store, keys *oauth.Keys, tenants []settings.TenantSpec) error {
	list, err := store.SuspendedAmong(cmd.Context(), keys, tenants)
	if err != nil {
		return err
	}
	for _, s := range list {
		ref := models.Ref{Noun: s.Noun, Tenant: s.TenantID, ID: s.ID}
		fmt.Fprintf(cmd.OutOrStdout(), "! %s is %s. It stays off until: %s\n", describe(ref), s, resumeCommand(cmd, ref))
	}
	return nil
}

// withKeys opens an existing database for a command that changes it.
func withKeys(cmd *cobra.Command, s *sharedFlags, fn func(*models.Store, *oauth.Keys) error) error {
	c, err := s.load(config.ForKeys)
	if err != nil {
		return err
	}
	if path, missing := missingDatabase(c); missing {
		return fmt.Errorf("there is no database at %s; is this the right configuration and folder?", path)
	}
	store, keys, err := openAll(cmd.Context(), c, logger(c.Log))
	if err != nil {
		return err
	}
	defer store.Close()
	return fn(store, keys)
}
