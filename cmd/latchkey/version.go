package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/models"
)

// release and commit are set by the linker (make build). A build without them
// goes by what the Go tools put into it.
var release, commit string

// build identifies the program.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

func thisBuild() build {
	b := build{Version: "unknown", Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		b = buildOf(info)
	}
	if release != "" {
		b.Version = release
	}
	if commit != "" {
		b.Commit = commit
	}
	return b
}

// buildOf is what the Go tools know of a build.
func buildOf(info *debug.BuildInfo) build {
	b := build{Version: info.Main.Version, Go: info.GoVersion}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			b.Commit += " (modified)"
		}
	}
	return b
}

// String is the build on one line.
func (b build) String() string {
	return strings.Join(strings.Fields(b.Version+" "+b.Commit+" "+b.Go), " ")
}

// versions is what `latchkey version` prints.
type versions struct {
	build
	Engines  string `json:"engines"`
	Schema   string `json:"schema"`             // the newest migration of this release
	Database string `json:"database,omitempty"` // the configured one
}

func newVersion(s *sharedFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and what it runs on",
		Long: `Prints the version, the commit that it was built from, the version of Go, the
database engines that it works with, and the database schema of this release.
With a configuration that has a database, it also asks that database what it is
and whether its schema is this one.`,
		Example: "  latchkey version\n  latchkey version --config latchkey.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versions{build: thisBuild(), Engines: "SQLite (built in), PostgreSQL 13 or newer", Schema: models.NewestMigration()}
			c, _, err := config.Load(s.path, os.Environ())
			if err != nil {
				return err
			}
			if s.path != "" || c.Given("database.url") {
				v.Database = databaseVersion(cmd.Context(), c)
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(v)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, line := range [][2]string{{"version", v.Version}, {"commit", v.Commit}, {"go", v.Go}, {"engines", v.Engines}, {"schema", v.Schema}, {"database", v.Database}} {
				if line[1] != "" {
					fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
				}
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// databaseVersion describes the configured database, also where it cannot be
// reached: the version of the program does not depend on it.
func databaseVersion(ctx context.Context, c *config.Config) string {
	if path, missing := missingDatabase(c); missing {
		return path + " does not exist yet"
	}
	store, err := models.Open(ctx, c.Database.URL, storeOptions(c, quiet))
	if err != nil {
		return "cannot be opened: " + strings.Join(strings.Fields(err.Error()), " ")
	}
	defer store.Close()
	engine, err := store.Engine(ctx)
	if err != nil {
		return "cannot be asked: " + err.Error()
	}
	schema, err := store.Schema(ctx)
	switch {
	case err != nil:
		return engine.Name + ", " + err.Error()
	case schema.Empty:
		return engine.Name + ", empty"
	case len(schema.Missing) > 0:
		return engine.Name + ", its schema is older: missing " + strings.Join(schema.Missing, ", ")
	case len(schema.Unknown) > 0:
		return engine.Name + ", its schema is newer: " + strings.Join(schema.Unknown, ", ")
	}
	return engine.Name + ", its schema is this one"
}
