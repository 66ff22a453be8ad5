package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/sdk/go/admin"
)

// The default and the largest number of users on one page.
const (
	defaultPageSize = 50
	maxPageSize     = 1000
)

func newUsersList(s *sharedFlags, tenant *string) *cobra.Command {
	f := models.UserFilter{}
	var attribute string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the users of a tenant, or those of an issuer or with a prefix",
		Long: `Lists the users of a tenant, page by page, in the order of their ids.

ID        the sub of the user's tokens; the other commands take it as SUB
ISSUER    the trusted issuer whose namespace (subject_prefix) contains the ID, or
          the issuers that share it; - if no issuer may vouch for the user
SUBJECT   the ID without that prefix, or -
LAST SEEN when the newest stored session began, of up to 10; without a stored session,
          the last recorded sign-in (recorded once a week), or for a user who has
          never signed in, when a file created them
SESSIONS  the number of live sessions among up to 10 stored ones; with + if the user
          has more stored sessions`,
		Example: `  latchkey users list --config latchkey.yaml
  latchkey users list --issuer https://accounts.google.com --limit 200
  latchkey users list --prefix google:10 --tenant acme --json
  latchkey users list --attribute email:ada@example.com`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case f.Limit < 1 || f.Limit > maxPageSize:
				return fmt.Errorf("--limit must be between 1 and %d", maxPageSize)
			case strings.ContainsRune(f.Issuer+f.Prefix+f.After+attribute, 0):
				return errors.New("--issuer, --prefix, --attribute and --cursor must not contain NUL")
			}
			if attribute != "" {
				name, value, found := strings.Cut(attribute, ":")
				if !found {
					return errors.New("--attribute must be a name, a colon and a value, as in email:ada@example.com")
				}
				f.Attribute = &models.AttributeMatch{Name: name, Value: value}
			}
			f.Tenant = *tenant
			show := func(list []models.ListedUser, next string) error {
				if asJSON {
					return printUsersJSON(cmd, list, next)
				}
				return printUsers(cmd, list, next, f)
			}
			return s.either(cmd, func(client *admin.Client) error {
				page, err := client.Users.Page(cmd.Context(), f.Tenant, admin.UserQuery{Prefix: f.Prefix, Issuer: f.Issuer, Attribute: attribute, Limit: f.Limit, Cursor: f.After})
				if err != nil {
					return s.absent(err, "there is no tenant %q", f.Tenant)
				}
				list := make([]models.ListedUser, len(page.Items))
				for i, u := range page.Items {
					list[i] = models.ListedUser{Sub: u.Sub, Issuers: u.Issuers, Subject: u.Subject, CreatedAt: u.CreatedAt, SeenAt: u.SeenAt, Sessions: u.Sessions, More: u.MoreSessions, Disabled: u.Disabled, Suspended: u.Suspended}
				}
				return show(list, page.NextCursor)
			}, func() error {
				return withKeys(cmd, s, func(store *models.Store, _ *keys.Roots) error {
					list, more, err := store.ListUsers(cmd.Context(), f)
					switch {
					case errors.Is(err, models.ErrNotSearchable):
						return fmt.Errorf("searchable_attributes of tenant %q does not have %q", f.Tenant, f.Attribute.Name)
					case errors.Is(err, models.ErrIndexing):
						return fmt.Errorf("%q was added to searchable_attributes of tenant %q recently; try again when a server has indexed its users", f.Attribute.Name, f.Tenant)
					case err != nil:
						return noTenant(err, f.Tenant)
					}
					next := ""
					if more {
						next = list[len(list)-1].Sub
					}
					return show(list, next)
				})
			})
		},
	}
	cmd.Flags().StringVar(&f.Issuer, "issuer", "", "only users in the namespace of the trusted issuer with this id or URL")
	cmd.Flags().StringVar(&attribute, "attribute", "", "only users with this value of a searchable attribute, as in email:ada@example.com")
	cmd.Flags().StringVar(&f.Prefix, "prefix", "", "only users whose ID begins with this text")
	cmd.Flags().IntVar(&f.Limit, "limit", defaultPageSize, fmt.Sprintf("number of users on a page, at most %d", maxPageSize))
	cmd.Flags().StringVar(&f.After, "cursor", "", "list the users after this ID, as printed at the end of a page")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func printUsers(cmd *cobra.Command, list []models.ListedUser, next string, f models.UserFilter) error {
	out := cmd.OutOrStdout()
	if len(list) == 0 {
		_, err := fmt.Fprintf(out, "Tenant %s has no matching users.\n", f.Tenant)
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tISSUER\tSUBJECT\tCREATED\tLAST SEEN\tSESSIONS")
	for _, u := range list {
		issuer, subject := "-", "-"
		if len(u.Issuers) > 0 {
			issuer, subject = strings.Join(u.Issuers, ", "), printable(u.Subject)
		}
		sessions := strconv.Itoa(u.Sessions)
		if u.More {
			sessions += "+"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", printable(u.Sub), issuer, subject, stamp(models.At(u.CreatedAt)), stamp(models.At(u.SeenAt)), sessions)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printNext(out, next)
}

// userJSON is one user of the list in JSON.
type userJSON struct {
	ID        string    `json:"id"`
	Issuers   []string  `json:"issuers"`
	Subject   string    `json:"subject,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	LastSeen  time.Time `json:"last_seen"`
	Sessions  int       `json:"sessions"`
	More      bool      `json:"more_sessions,omitempty"`
	Disabled  bool      `json:"disabled,omitempty"`
	Suspended bool      `json:"suspended,omitempty"`
}

func printUsersJSON(cmd *cobra.Command, list []models.ListedUser, next string) error {
	page := struct {
		Users      []userJSON `json:"users"`
		NextCursor string     `json:"next_cursor,omitempty"`
	}{Users: []userJSON{}, NextCursor: next}
	for _, u := range list {
		issuers := u.Issuers
		if issuers == nil {
			issuers = []string{}
		}
		page.Users = append(page.Users, userJSON{u.Sub, issuers, u.Subject, u.CreatedAt, u.SeenAt, u.Sessions, u.More, u.Disabled, u.Suspended})
	}
	return printJSON(cmd, page)
}

// printNext prints how to get the next page, if there is one.
func printNext(out io.Writer, cursor string) error {
	if cursor == "" {
		return nil
	}
	_, err := fmt.Fprintf(out, "For the next page, repeat the command with --cursor %s\n", shellWord(cursor))
	return err
}

// printJSON prints a value as indented JSON.
func printJSON(cmd *cobra.Command, v any) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
