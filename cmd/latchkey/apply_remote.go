package main

import (
	"errors"

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
	return nil
}

// changeOf returns a change as the database reports it.
func changeOf(c admin.Change) models.Change {
	change := models.Change{Created: c.Change == "created", Removed: c.Change == "removed", Kind: c.Kind, Tenant: c.Tenant, ID: c.ID, Notes: c.Notes}
	for _, f := range c.Fields {
		change.Fields = append(change.Fields, models.FieldChange{Name: f.Name, From: string(f.From), To: string(f.To)})
	}
	return change
}
