package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

// Bounds of the users on one page of a list.
const (
	usersOnPage     = 50
	mostUsersOnPage = 1000
)

func newUsersList(s *sharedFlags, tenant *string) *cobra.Command {
	f := models.UserFilter{}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List users, or those of an issuer or with a prefix",
		Long: `Lists the users of a tenant, page by page, in the order of their ids.

ID is the sub of a user's tokens, which the other commands take. ISSUER is the
trusted issuer in whose namespace (subject_prefix) the ID is, or the issuers that
share it, and SUBJECT the ID without that prefix; both are - for a user whom no
issuer may vouch for. LAST SEEN is when the newest session began that is stored;
where there is none, the last sign-in that was recorded, which happens once a
week, or for a user who never signed in, when a file made them. SESSIONS counts
live sessions.`,
		Example: `  latchkey users list --config latchkey.yaml
  latchkey users list --issuer https://accounts.google.com --limit 200
  latchkey users list --prefix google:10 --tenant acme --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case f.Limit < 1 || f.Limit > mostUsersOnPage:
				return fmt.Errorf("--limit must be from 1 to %d", mostUsersOnPage)
			case strings.ContainsRune(f.Issuer+f.Prefix+f.After, 0):
				return errors.New("--issuer, --prefix and --cursor must not contain NUL")
			}
			f.Tenant = *tenant
			return withKeys(cmd, s, func(store *models.Store, _ *oauth.Keys) error {
				list, more, err := store.ListUsers(cmd.Context(), f)
				if err != nil {
					return noTenant(err, f.Tenant)
				}
				if asJSON {
					return printUsersJSON(cmd, list, more)
				}
				return printUsers(cmd, list, more, f)
			})
		},
	}
	cmd.Flags().StringVar(&f.Issuer, "issuer", "", "only users in the namespace of the trusted issuer with this id or URL")
	cmd.Flags().StringVar(&f.Prefix, "prefix", "", "only users whose ID begins with this text")
	cmd.Flags().IntVar(&f.Limit, "limit", usersOnPage, fmt.Sprintf("users on a page, at most %d", mostUsersOnPage))
	cmd.Flags().StringVar(&f.After, "cursor", "", "the page behind this ID; the end of a page prints it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func printUsers(cmd *cobra.Command, list []models.ListedUser, more bool, f models.UserFilter) error {
	out := cmd.OutOrStdout()
	if len(list) == 0 {
		_, err := fmt.Fprintf(out, "Tenant %s has no such user.\n", f.Tenant)
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tISSUER\tSUBJECT\tCREATED\tLAST SEEN\tSESSIONS")
	for _, u := range list {
		issuer, subject := "-", "-"
		if len(u.Issuers) > 0 {
			issuer, subject = strings.Join(u.Issuers, ", "), printable(u.Subject)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\n", printable(u.Sub), issuer, subject, stamp(models.At(u.CreatedAt)), stamp(models.At(u.SeenAt)), u.Sessions)
	}
	if err := w.Flush(); err != nil || !more {
		return err
	}
	_, err := fmt.Fprintf(out, "There are more: repeat the command with --cursor %s\n", shellWord(list[len(list)-1].Sub))
	return err
}

// userJSON is a user in the JSON form of the list.
type userJSON struct {
	ID        string    `json:"id"`
	Issuers   []string  `json:"issuers"`
	Subject   string    `json:"subject,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	LastSeen  time.Time `json:"last_seen"`
	Sessions  int       `json:"sessions"`
	Disabled  bool      `json:"disabled,omitempty"`
	Suspended bool      `json:"suspended,omitempty"`
}

func printUsersJSON(cmd *cobra.Command, list []models.ListedUser, more bool) error {
	page := struct {
		Users      []userJSON `json:"users"`
		NextCursor string     `json:"next_cursor,omitempty"`
	}{Users: []userJSON{}}
	for _, u := range list {
		issuers := u.Issuers
		if issuers == nil {
			issuers = []string{}
		}
		page.Users = append(page.Users, userJSON{u.Sub, issuers, u.Subject, u.CreatedAt, u.SeenAt, u.Sessions, u.Disabled, u.Suspended})
	}
	if more {
		page.NextCursor = list[len(list)-1].Sub
	}
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetIndent("", "  ")
	return e.Encode(page)
}
