package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/sdk/go/admin"
	"github.com/latchkey/latchkey/settings"
)

// The default and the largest number of items that a page of the admin API has.
const defaultPage, largestPage = 50, 500

func newSessions(s *sharedFlags) *cobra.Command {
	var tenant string
	sessions := group("sessions", "List, show or end sessions of a tenant")
	sessions.Long = "Lists, shows or ends sessions of a tenant." + remoteHelp
	sessions.Example = "  latchkey sessions list --user alice\n  latchkey sessions end --user alice --confirm 3 --server https://admin.example.com --key-file admin-key"
	s.addRemote(sessions)
	sessions.PersistentFlags().StringVar(&tenant, "tenant", settings.DefaultTenant, "id of the tenant")
	sessions.AddCommand(newSessionsList(s, &tenant), newSessionsShow(s, &tenant), newSessionsEnd(s, &tenant))
	return sessions
}

func newSessionsList(s *sharedFlags, tenant *string) *cobra.Command {
	var q admin.SessionQuery
	var createdAfter, createdBefore, activeAfter, activeBefore moment
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Search sessions, the newest first",
		Long: `Lists the sessions that match every flag, page by page, the newest first.

A page reads at most 10,000 sessions. It may be short, or empty, and still be
followed by another one. Times are as in 2026-11-30T12:00:00Z, or how long ago: 7d.`,
		Example: `  latchkey sessions list --user alice --state active
  latchkey sessions list --client web --active-before 30d --json
  latchkey sessions list --ip 192.0.2.7 --server https://admin.example.com --key-file admin-key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case q.Limit < 1 || q.Limit > largestPage:
				return fmt.Errorf("--limit must be between 1 and %d", largestPage)
			case q.State != "" && q.State != "active" && q.State != "ended":
				return errors.New("--state must be active or ended")
			}
			q.CreatedAfter, q.CreatedBefore, q.ActiveAfter, q.ActiveBefore = createdAfter.Time, createdBefore.Time, activeAfter.Time, activeBefore.Time
			return s.manage(cmd, func(m management) error {
				page, err := m.sessions(cmd.Context(), *tenant, q)
				if err != nil {
					return s.absent(err, "there is no tenant %q", *tenant)
				}
				if asJSON {
					return printJSON(cmd, page)
				}
				return printSessions(cmd.OutOrStdout(), page)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&q.User, "user", "", "only sessions of this user: the sub")
	flags.StringVar(&q.Client, "client", "", "only sessions of this client: its id")
	flags.StringVar(&q.Issuer, "issuer", "", "only sessions that began with this trusted issuer: the id of its entry")
	flags.StringVar(&q.State, "state", "", "active or ended; default: both")
	flags.StringVar(&q.IP, "ip", "", "only sessions that were last used from this address")
	flags.Var(&createdAfter, "created-after", "only sessions that began then or later")
	flags.Var(&createdBefore, "created-before", "only sessions that began earlier")
	flags.Var(&activeAfter, "active-after", "only sessions that were used then or later")
	flags.Var(&activeBefore, "active-before", "only sessions that have not been used since")
	flags.IntVar(&q.Limit, "limit", defaultPage, fmt.Sprintf("number of sessions on a page, at most %d", largestPage))
	flags.StringVar(&q.Cursor, "cursor", "", "list the next page, as printed at the end of a page")
	flags.BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func printSessions(out io.Writer, page *admin.Page[admin.Session]) error {
	if len(page.Items) == 0 && page.NextCursor == "" {
		_, err := fmt.Fprintln(out, "There are no matching sessions.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tUSER\tCLIENT\tISSUER\tCREATED\tLAST ACTIVE\tSTATE\tDEVICE")
	for _, s := range page.Items {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, printable(s.User), s.Client, orDash(s.Issuer), clock(s.CreatedAt), clock(s.LastActiveAt), stateOf(s), orDash(s.Device.Name))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printNext(out, page.NextCursor)
}

// stateOf returns the state of a session, with the reason of its end.
func stateOf(s admin.Session) string {
	if s.EndReason != "" {
		return s.State + " (" + s.EndReason + ")"
	}
	return s.State
}

func clock(t time.Time) string { return stamp(models.At(t)) }

func newSessionsShow(s *sharedFlags, tenant *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show SID", Short: "Show a session, its factors and what happened to it", Args: oneSession,
		Example: "  latchkey sessions show SID\n  latchkey sessions show SID --json --server https://admin.example.com --key-file admin-key",
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.manage(cmd, func(m management) error {
				session, err := m.session(cmd.Context(), *tenant, args[0])
				switch {
				case err != nil:
					return s.absent(err, "tenant %q has no session %q", *tenant, args[0])
				case asJSON:
					return printJSON(cmd, session)
				}
				return printSession(cmd.OutOrStdout(), *tenant, session)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func oneSession(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("give one SID: the id of the session, which is sid in its tokens")
	}
	return nil
}

func printSession(out io.Writer, tenant string, s *admin.Session) error {
	fmt.Fprintf(out, "session %s of user %s at client %s of tenant %s, %s\n", s.ID, printable(s.User), s.Client, tenant, stateOf(*s))
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(out, "  %s: %s\n", name, printable(value))
		}
	}
	line("issuer", s.Issuer)
	line("created", clock(s.CreatedAt))
	line("last active", clock(s.LastActiveAt))
	if s.EndedAt != nil {
		line("ended", clock(*s.EndedAt))
	} else if line("ends", clock(s.ExpiresAt)); s.IdleExpiresAt != nil {
		line("ends, if it is not used", clock(*s.IdleExpiresAt))
	}
	line("refreshes", fmt.Sprint(s.Generation))
	line("acr", s.ACR)
	line("scope", strings.Join(s.Scope, " "))
	line("audience", strings.Join(s.Audience, " "))
	line("device", s.Device.Name)
	line("user agent", s.Device.UserAgent)
	line("address", s.Device.IP)
	for _, f := range s.Factors {
		counts := ""
		if !f.Counts {
			counts = ", which does not count now"
		}
		line("factor", fmt.Sprintf("%s at %s, by %s%s", f.AMR, clock(f.At), f.Issuer, counts))
	}
	for _, group := range []struct {
		name   string
		values map[string]any
	}{{"attribute", s.Attributes}, {"claim", s.Claims}} {
		for _, name := range slices.Sorted(maps.Keys(group.values)) {
			line(group.name+" "+name, asText(group.values[name]))
		}
	}
	for _, e := range s.Events {
		line("event", clock(e.At)+" "+e.Type)
	}
	return nil
}

// asText returns a value as JSON on one line.
func asText(v any) string {
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(text.String(), "\n")
}

func newSessionsEnd(s *sharedFlags, tenant *string) *cobra.Command {
	var user, client string
	var confirm int
	cmd := &cobra.Command{
		Use:   "end [SID]",
		Short: "End a session, or those of a user or a client",
		Long: `Ends one session, or with --user and --client the sessions of a user, of a client,
or of a user at a client.

--confirm is how many sessions may end at most. If more would end, the command ends
none and prints their number.`,
		Example: `  latchkey sessions end SID
  latchkey sessions end --user alice --confirm 3
  latchkey sessions end --user alice --client web --confirm 3 --server https://admin.example.com --key-file admin-key`,
		Args: func(_ *cobra.Command, args []string) error {
			switch some := user != "" || client != ""; {
			case len(args) > 1 || some == (len(args) == 1):
				return errors.New("give one SID, or --user or --client with --confirm")
			case some && confirm < 0:
				return errors.New("--confirm must not be negative")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			return s.manage(cmd, func(m management) error {
				if len(args) == 1 {
					if err := m.endSession(cmd.Context(), *tenant, args[0]); err != nil {
						return s.absent(err, "tenant %q has no session %q", *tenant, args[0])
					}
					_, err := fmt.Fprintf(out, "Ended session %s.\n", args[0])
					return err
				}
				n, err := m.endSessions(cmd.Context(), *tenant, user, client, confirm)
				if err != nil {
					return s.absent(err, "there is no tenant %q", *tenant)
				}
				_, err = fmt.Fprintf(out, "%s ended.\n", plural(n, "session"))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "end the sessions of this user: the sub")
	cmd.Flags().StringVar(&client, "client", "", "end the sessions of this client: its id")
	cmd.Flags().IntVar(&confirm, "confirm", 0, "how many sessions may end at most")
	return cmd
}
