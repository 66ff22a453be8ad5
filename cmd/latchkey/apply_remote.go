package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/sdk/go/admin"
)

// applyRemotely applies a file over the admin API.
func applyRemotely(cmd *cobra.Command, client *admin.Client, file string, o admin.ApplyOptions) error {
	if file == "" {
		return errors.New("no file given: use -f, as in -f latchkey.yaml")
	}
	document, faults, err := config.Portable(file)
	switch {
	case err != nil:
		return err
	case len(faults) > 0:
		return faulty(faults)
	}
	o.YAML = true
	done, err := client.Apply(cmd.Context(), document, o)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	for _, c := range done.Changes {
		changeOf(c).Print(out)
	}
	printNumber(out, len(done.Changes), o.DryRun)
	if !o.DryRun { // the server checks what it has stored
		checkRemotely(cmd.Context(), cmd.ErrOrStderr(), client, done.Changes)
	}
	return nil
}

// checkRemotely lets the server fetch the keys of the trusted issuers that were created
// or changed, and prints a warning for each issuer whose tokens cannot be verified. As
// on the server, this never makes apply fail.
func checkRemotely(ctx context.Context, out io.Writer, client *admin.Client, changes []admin.Change) {
	ctx, cancel := context.WithTimeout(ctx, issuerTimeout)
	defer cancel()
	printed := make([]string, len(changes))
	slots := make(chan struct{}, 8)
	var checking sync.WaitGroup
	for i, c := range changes {
		if c.Kind != string(admin.KindTrustedIssuer) || c.Change == "removed" {
			continue
		}
		checking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			name := c.Tenant + "/" + c.ID
			switch check, err := client.TrustedIssuers.Check(ctx, c.Tenant, c.ID); {
			case err != nil:
				printed[i] = fmt.Sprintf("Note: trusted issuer %s was not checked: %v\n", name, readable(err))
			case check.OK:
			case check.Verdict == "misconfigured":
				printed[i] = fmt.Sprintf("Warning: trusted issuer %s: %s. Until this is corrected, every exchange of its tokens fails with status 500.\n", name, strings.TrimSuffix(check.Detail, "."))
			default:
				printed[i] = fmt.Sprintf("Note: trusted issuer %s was not checked: %s\n", name, check.Detail)
			}
		})
	}
	checking.Wait()
	for _, line := range printed {
		fmt.Fprint(out, line)
	}
}

// changeOf returns a change as the database reports it.
func changeOf(c admin.Change) models.Change {
	change := models.Change{Created: c.Change == "created", Removed: c.Change == "removed", Kind: c.Kind, Tenant: c.Tenant, ID: c.ID, Notes: c.Notes}
	for _, f := range c.Fields {
		change.Fields = append(change.Fields, models.FieldChange{Name: f.Name, From: string(f.From), To: string(f.To)})
	}
	return change
}
