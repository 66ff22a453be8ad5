package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/sdk/go/admin"
	"github.com/latchkey/latchkey/settings"
)

func newDestinations(s *sharedFlags) *cobra.Command {
	var tenant string
	parent := group("destinations", "Check, test and repair deliveries to the event destinations of a tenant")
	parent.Long = `An event destination of a tenant receives its events, as webhooks or as security
event tokens. Configure them in a file under event_destinations, with "latchkey
apply", or over the admin API.` + remoteHelp
	parent.Example = "  latchkey destinations list\n  latchkey destinations test hooks --server https://admin.example.com --key-file admin-key"
	s.addRemote(parent)
	parent.PersistentFlags().StringVar(&tenant, "tenant", settings.DefaultTenant, "id of the tenant")
	parent.AddCommand(newDestinationsList(s, &tenant), newDestinationsTest(s, &tenant), newDestinationsDeliveries(s, &tenant),
		newDestinationsRedeliver(s, &tenant), newDestinationsEnable(s, &tenant), newDestinationsSecret(s, &tenant))
	return parent
}

func oneDestination(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("give one ID: the id of the event destination; run latchkey destinations list to see them")
	}
	return nil
}

// noDestination replaces the error for a destination that does not exist.
func (s *sharedFlags) noDestination(err error, tenant, id string) error {
	return s.absent(err, "tenant %q has no event destination %q", tenant, id)
}

func newDestinationsList(s *sharedFlags, tenant *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the event destinations and the state of their deliveries",
		Long: `Lists the event destinations of the tenant.

WAITING is how many events failed and wait for another attempt, DEAD how many were
given up. DELIVERED THROUGH is the time up to which every event was accepted, waits,
or was given up.`,
		Example: "  latchkey destinations list --tenant acme\n  latchkey destinations list --json --server https://admin.example.com --key-file admin-key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.manage(cmd, func(m management) error {
				list, err := m.destinations(cmd.Context(), *tenant)
				if err != nil {
					return s.absent(err, "there is no tenant %q", *tenant)
				}
				if asJSON {
					return printJSON(cmd, admin.Page[admin.EventDestination]{Items: list})
				}
				return printDestinations(cmd.OutOrStdout(), list)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func printDestinations(out io.Writer, list []admin.EventDestination) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "The tenant has no event destinations.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tTYPE\tTO\tSTATE\tWAITING\tDEAD\tDELIVERED THROUGH\tLAST ERROR")
	for _, d := range list {
		kind, _ := d.Settings["type"].(string)
		to, _ := d.Settings["url"].(string)
		if kind == settings.DestinationPoll {
			client, _ := d.Settings["client"].(string)
			to = "client " + client
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, kind, orDash(to), d.Status.State, upTo(d.Status.Waiting), upTo(d.Status.Dead),
			clock(d.Status.DeliveredThrough.Truncate(time.Second)), orDash(d.Status.LastError))
	}
	return w.Flush()
}

// upTo prints a number of events, which is counted up to 10,000.
func upTo(n int) string {
	if n > models.ManyDeliveries {
		return fmt.Sprintf("more than %d", models.ManyDeliveries)
	}
	return strconv.Itoa(n)
}

func newDestinationsTest(s *sharedFlags, tenant *string) *cobra.Command {
	return &cobra.Command{
		Use:   "test ID",
		Short: "Send a test event now and print the answer",
		Long: `Sends an event of the type destination.verification, once, and prints the answer of
the receiver. The command fails if the receiver does not accept the event.

With --server, the server sends the event. Without it, this command does.`,
		Example: "  latchkey destinations test hooks\n  latchkey destinations test hooks --server https://admin.example.com --key-file admin-key",
		Args:    oneDestination,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.manage(cmd, func(m management) error {
				done, err := m.testDestination(cmd.Context(), *tenant, args[0])
				if err != nil {
					return s.noDestination(err, *tenant, args[0])
				}
				if done.State != "delivered" {
					if done.Answer != "" {
						fmt.Fprintln(cmd.OutOrStdout(), printable(done.Answer))
					}
					return fmt.Errorf("the test event was not accepted: %s", done.Error)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "The receiver accepted the test event: it answered %d.\n", done.Status)
				return err
			})
		},
	}
}

func newDestinationsDeliveries(s *sharedFlags, tenant *string) *cobra.Command {
	var q deliveryQuery
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "deliveries ID",
		Short: "List the last attempts, or the events that wait or were given up",
		Long: `Lists the deliveries of an event destination, depending on --state:

  recent   the last 50 attempts, the newest first
  waiting  events that failed and will be attempted again, the oldest first
  dead     events that were given up, the oldest first`,
		Example: "  latchkey destinations deliveries hooks\n  latchkey destinations deliveries hooks --state dead --json\n  latchkey destinations deliveries hooks --state waiting --server https://admin.example.com --key-file admin-key",
		Args:    oneDestination,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case q.limit < 1 || q.limit > largestPage:
				return fmt.Errorf("--limit must be between 1 and %d", largestPage)
			case q.state != "recent" && q.state != "waiting" && q.state != "dead":
				return errors.New("--state must be recent, waiting or dead")
			}
			return s.manage(cmd, func(m management) error {
				page, err := m.deliveries(cmd.Context(), *tenant, args[0], q)
				if err != nil {
					return s.noDestination(err, *tenant, args[0])
				}
				if asJSON {
					return printJSON(cmd, page)
				}
				return printDeliveries(cmd.OutOrStdout(), page)
			})
		},
	}
	cmd.Flags().StringVar(&q.state, "state", "recent", "recent, waiting or dead")
	cmd.Flags().IntVar(&q.limit, "limit", defaultPage, fmt.Sprintf("number of deliveries on a page, at most %d", largestPage))
	cmd.Flags().StringVar(&q.cursor, "cursor", "", "list the next page, as printed at the end of a page")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func printDeliveries(out io.Writer, page *admin.Page[admin.EventDelivery]) error {
	if len(page.Items) == 0 {
		_, err := fmt.Fprintln(out, "There are no such deliveries.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "EVENT\tTYPE\tSTATE\tAT\tATTEMPTS\tSTATUS\tNEXT\tERROR")
	for _, d := range page.Items {
		status, next := "-", "-"
		if d.Status != 0 {
			status = fmt.Sprint(d.Status)
		}
		if d.NextAt != nil {
			next = clock(*d.NextAt)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", d.Event, d.Type, d.State, clock(d.At), d.Attempts, status, next, orDash(strings.TrimSpace(d.Error)))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printNext(out, page.NextCursor)
}

func newDestinationsRedeliver(s *sharedFlags, tenant *string) *cobra.Command {
	var since moment
	var dead bool
	cmd := &cobra.Command{
		Use:   "redeliver ID",
		Short: "Deliver events again: those that were given up, or all since a time",
		Long: `With --dead, attempts the events that were given up again. With --since, delivers all
events since a time again; the time is as in 2026-11-30T12:00:00Z, or how long ago:
7d. A repeated event has the id that it had before.`,
		Example: "  latchkey destinations redeliver hooks --dead\n  latchkey destinations redeliver hooks --since 12h --server https://admin.example.com --key-file admin-key",
		Args: func(cmd *cobra.Command, args []string) error {
			if dead == !since.IsZero() {
				return errors.New("give either --dead or --since")
			}
			return oneDestination(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			return s.manage(cmd, func(m management) error {
				if dead {
					n, err := m.redeliverDead(cmd.Context(), *tenant, args[0])
					if err != nil {
						return s.noDestination(err, *tenant, args[0])
					}
					_, err = fmt.Fprintf(out, "%s given up will be attempted again.\n", plural(int(n), "event"))
					return err
				}
				if err := m.redeliverSince(cmd.Context(), *tenant, args[0], since.Time); err != nil {
					return s.noDestination(err, *tenant, args[0])
				}
				_, err := fmt.Fprintf(out, "The events since %s will be delivered again.\n", clock(since.UTC()))
				return err
			})
		},
	}
	cmd.Flags().Var(&since, "since", "deliver the events of then or later again")
	cmd.Flags().BoolVar(&dead, "dead", false, "attempt the events that were given up again")
	return cmd
}

func newDestinationsEnable(s *sharedFlags, tenant *string) *cobra.Command {
	return &cobra.Command{
		Use:   "enable ID",
		Short: "Deliver again to a receiver that answered 410",
		Long: `Delivers again to an event destination that the server disabled because its receiver
answered 410. The events since then are delivered, as far as the event log still has
them. To resume a paused destination, change its settings.`,
		Example: "  latchkey destinations enable hooks\n  latchkey destinations enable hooks --server https://admin.example.com --key-file admin-key",
		Args:    oneDestination,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.manage(cmd, func(m management) error {
				d, err := m.enableDestination(cmd.Context(), *tenant, args[0])
				if err != nil {
					return s.noDestination(err, *tenant, args[0])
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "Event destination %s of tenant %s is enabled. Its state is %s.\n", d.ID, *tenant, d.Status.State)
				return err
			})
		},
	}
}

func newDestinationsSecret(s *sharedFlags, tenant *string) *cobra.Command {
	var previous string
	cmd := &cobra.Command{
		Use:   "secret ID",
		Short: "Generate a new secret for a webhook and print it once",
		Long: `Generates a new secret that signs the webhooks of an event destination, and prints it.
It cannot be printed again. Until the previous secret expires, every webhook is
signed with both, so that the receiver can change over in between.`,
		Example: "  latchkey destinations secret hooks\n  latchkey destinations secret hooks --previous-until 7d --server https://admin.example.com --key-file admin-key",
		Args:    oneDestination,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.manage(cmd, func(m management) error {
				made, err := m.newDestinationSecret(cmd.Context(), *tenant, args[0], previous)
				if err != nil {
					return s.noDestination(err, *tenant, args[0])
				}
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), made.Secret); err != nil {
					return err
				}
				note := "Store the secret now: it is not printed again."
				if made.PreviousSecretUntil != nil {
					note += " The previous secret also signs until " + clock(*made.PreviousSecretUntil) + "."
				}
				_, err = fmt.Fprintln(cmd.ErrOrStderr(), note)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&previous, "previous-until", "", "until when the previous secret signs too: a time, or a duration such as 7d; default: for 24 hours; 0s: not at all")
	return cmd
}
