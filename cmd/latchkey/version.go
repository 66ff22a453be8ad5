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

// release and commit are set by the linker (make build). Other builds use the
// version information of the Go tools.
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

// buildOf returns the build that the Go tools have recorded.
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

// String returns the build on one line.
func (b build) String() string {
	return strings.Join(strings.Fields(b.Version+" "+b.Commit+" "+b.Go), " ")
}

// short returns the version, and the commit too if there is no release of it.
func (b build) short() string {
	if release != "" || b.Commit == "" {
		return b.Version
	}
	commit, modified, _ := strings.Cut(b.Commit, " ")
	return strings.TrimSpace(b.Version + " " + commit[:min(len(commit), 12)] + " " + modified)
}

// versions is the output of `latchkey version`.
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
		Short: "Print the version, the commit, and the database",
		Long: `Prints the version, the commit, the version of Go, the supported database engines,
and the database schema of this release. With a configuration that has a database,
it also prints which database that is and whether it has this schema.`,
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

// databaseVersion describes the configured database. An error becomes part of the
// description, because the command succeeds without the database.
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
		return "cannot be queried: " + err.Error()
	}
	schema, err := store.Schema(ctx)
	switch {
	case err != nil:
		return engine.Name + ", " + err.Error()
	case schema.Empty:
		return engine.Name + ", empty"
	case len(schema.Missing) > 0:
		return engine.Name + ", older schema: missing " + strings.Join(schema.Missing, ", ")
	case len(schema.Unknown) > 0:
		return engine.Name + ", newer schema: " + strings.Join(schema.Unknown, ", ")
	}
	return engine.Name + ", current schema"
}
