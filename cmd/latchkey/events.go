package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/sdk/go/admin"
	"github.com/latchkey/latchkey/settings"
)

func newEvents(s *sharedFlags) *cobra.Command {
	var tenant string
	events := group("events", "List or follow what happened in a tenant")
	events.Long = "Lists the events of a tenant, or follows them as they happen." + remoteHelp
	events.Example = "  latchkey events list --user alice\n  latchkey events follow --type session.ended. --server https://admin.example.com --key-file admin-key"
	s.addRemote(events)
	events.PersistentFlags().StringVar(&tenant, "tenant", settings.DefaultTenant, "id of the tenant")
	events.AddCommand(newEventsList(s, &tenant), newEventsFollow(s, &tenant))
	return events
}

// filterEvents adds the flags that select events.
func filterEvents(cmd *cobra.Command, q *admin.EventQuery) {
	flags := cmd.Flags()
	flags.StringArrayVar(&q.Types, "type", nil, "only events of this type, or with a dot at the end, of all types that begin with it; may be repeated")
	flags.StringVar(&q.User, "user", "", "only events of this user: the sub")
	flags.StringVar(&q.Client, "client", "", "only events of this client: its id")
	flags.StringVar(&q.Session, "session", "", "only events of this session: its id")
}

func newEventsList(s *sharedFlags, tenant *string) *cobra.Command {
	var q admin.EventQuery
	var after, before moment
	var deployment, asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List events, the newest first",
		Long: `Lists the events that match every flag, page by page, the newest first. A page may
be short and still be followed by another one. Times are as in
2026-11-30T12:00:00Z, or how long ago: 7d. docs/errors.md lists the types.`,
		Example: `  latchkey events list --type session. --user alice --after 7d
  latchkey events list --deployment --json
  latchkey events list --type config.changed --server https://admin.example.com --key-file admin-key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			of := *tenant
			switch {
			case q.Limit < 1 || q.Limit > largestPage:
				return fmt.Errorf("--limit must be between 1 and %d", largestPage)
			case deployment && cmd.Flags().Changed("tenant"):
				return errors.New("--deployment and --tenant exclude each other")
			case deployment:
				of = ""
			}
			q.After, q.Before = after.Time, before.Time
			return s.manage(cmd, func(m management) error {
				page, err := m.events(cmd.Context(), of, q)
				if err != nil {
					return s.absent(err, "there is no tenant %q", of)
				}
				if asJSON {
					return printJSON(cmd, page)
				}
				return printEvents(cmd, page)
			})
		},
	}
	filterEvents(cmd, &q)
	cmd.Flags().Var(&after, "after", "only events of then or later")
	cmd.Flags().Var(&before, "before", "only earlier events")
	cmd.Flags().BoolVar(&deployment, "deployment", false, "list the events of the deployment itself, such as those of admin keys, instead of a tenant's")
	cmd.Flags().IntVar(&q.Limit, "limit", defaultPage, fmt.Sprintf("number of events on a page, at most %d", largestPage))
	cmd.Flags().StringVar(&q.Cursor, "cursor", "", "list the next page, as printed at the end of a page")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func printEvents(cmd *cobra.Command, page *admin.Page[admin.Event]) error {
	out := cmd.OutOrStdout()
	if len(page.Items) == 0 && page.NextCursor == "" {
		_, err := fmt.Fprintln(out, "There are no matching events.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AT\tTYPE\tUSER\tCLIENT\tSESSION\tDETAILS")
	for _, e := range page.Items {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", clock(e.At), e.Type, orDash(e.User), orDash(e.Client), orDash(e.Session), detailsOf(e))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printNext(out, page.NextCursor)
}

// detailsOf returns the details of an event on one line. In JSON, control characters
// are escaped.
func detailsOf(e admin.Event) string {
	if len(e.Details) == 0 {
		return "-"
	}
	return printable(asText(e.Details))
}

func newEventsFollow(s *sharedFlags, tenant *string) *cobra.Command {
	var q admin.EventQuery
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "follow",
		Short: "Print events as they happen, until it is interrupted",
		Long: `Prints each event that matches every flag within about a second, until the command
is interrupted. After a lost connection, it continues with the event after the last
one that it printed.`,
		Example: `  latchkey events follow --type session.ended.
  latchkey events follow --json --server https://admin.example.com --key-file admin-key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.manage(cmd, func(m management) error {
				lost := func(err error) {
					fmt.Fprintf(cmd.ErrOrStderr(), "The connection was lost and is made again: %v\n", readable(err))
				}
				err := m.follow(cmd.Context(), *tenant, q, lost, func(e admin.Event) error {
					if asJSON {
						return json.NewEncoder(cmd.OutOrStdout()).Encode(e)
					}
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s %s %s %s\n", clock(e.At), e.Type, orDash(e.User), orDash(e.Client), orDash(e.Session), detailsOf(e))
					return err
				})
				if errors.Is(err, context.Canceled) {
					return nil // interrupted, as intended
				}
				return s.absent(err, "there is no tenant %q", *tenant)
			})
		},
	}
	filterEvents(cmd, &q)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object a line")
	return cmd
}
