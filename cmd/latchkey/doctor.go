package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/oauth/keys"
)

func newDoctor(s *sharedFlags) *cobra.Command {
	d := doctor{flags: s, timeout: feedTimeout}
	var secretFile string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check a deployment, and suggest what to do",
		Long: `Checks the configuration and its files, the database, the clocks, the root
secrets, the signing keys and the trusted issuers of a deployment. It prints a line
for each check and changes nothing. Run it before the first start or beside running
servers, on one of their machines and as their user.

With --url it also requests the public URL, through the proxies in front of the
servers. With --client and --client-secret-file (a client with a secret, which may
read the revocation feed) it also checks that no proxy delays the feed.

The exit code is 1 if there is a fault, and 0 if there are only warnings.`,
		Example: `  latchkey doctor --config latchkey.yaml
  latchkey doctor --config latchkey.yaml --url https://id.example.com
  latchkey doctor --config latchkey.yaml --url https://id.example.com \
    --client backend --client-secret-file backend-secret --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := d.readClientSecret(secretFile); err != nil {
				return err
			}
			d.examine(cmd.Context())
			print := printFindings
			if asJSON {
				print = printFindingsJSON
			}
			if err := print(cmd.OutOrStdout(), d.findings); err != nil {
				return err
			}
			if n := d.count(isFault); n > 0 {
				return fmt.Errorf("%s found", plural(n, "fault"))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&d.url, "url", "", "also check the deployment at this URL, which clients use")
	cmd.Flags().StringVar(&d.client, "client", "", "id of a client with a secret, for reading the revocation feed")
	cmd.Flags().StringVar(&secretFile, "client-secret-file", "", "file with the client's secret")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

// Results of a check.
const (
	isOK      = "ok"
	isWarning = "warning" // works, but perhaps not as the operator wants
	isFault   = "fault"   // does not work, or is not safe
	isSkipped = "skipped" // not checked, because of a fault or a missing option
)

// finding is the result of one check, with a sentence about it.
type finding struct {
	Result string `json:"result"`
	Check  string `json:"check"`
	Text   string `json:"text"`
}

// doctor examines a deployment. It changes nothing.
type doctor struct {
	flags          *sharedFlags
	url            string        // public URL; empty: not checked
	client, secret string        // for the revocation feed; empty: not checked
	timeout        time.Duration // for the revocation feed

	config   *config.Config
	valid    bool     // the configuration has no fault
	kids     []string // ids of the signing keys of the tenant default in the database
	findings []finding
}

// quiet discards the log, because the doctor reports everything in its findings.
var quiet = slog.New(slog.DiscardHandler)

func (d *doctor) add(result, check, format string, args ...any) {
	text := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ") // on one line
	d.findings = append(d.findings, finding{result, check, text})
}

func (d *doctor) count(result string) (n int) {
	for _, f := range d.findings {
		if f.Result == result {
			n++
		}
	}
	return n
}

func (d *doctor) examine(ctx context.Context) {
	c, faults, err := d.flags.check(config.ForServe)
	if err != nil {
		d.add(isFault, "configuration", "%v", err)
		return
	}
	d.config = c
	for _, f := range faults {
		d.add(isFault, "configuration", "%s", f)
	}
	if d.valid = len(faults) == 0; d.valid {
		d.add(isOK, "configuration", "%s", d.source())
	}
	d.files()
	d.certificate(time.Now())
	d.ports(ctx)
	d.stored(ctx)
	d.public(ctx)
}

func (d *doctor) source() string {
	if d.flags.path == "" {
		return "only LATCHKEY_… variables, because --config names no file"
	}
	return d.flags.path
}

// stored makes the checks that need the database, as far as it is reachable.
func (d *doctor) stored(ctx context.Context) {
	const unchecked = "signing keys, root secrets and trusted issuers were not checked: "
	store, empty := d.database(ctx)
	if store != nil {
		defer store.Close()
	} else if !empty {
		d.add(isSkipped, "tenants", unchecked+"see database and schema")
		return
	}
	roots, err := keys.NewRoots(d.config.Secret)
	if err != nil {
		d.add(isSkipped, "tenants", unchecked+"%v", err)
		return
	}
	checked := map[string]bool{}
	if store != nil && !d.served(ctx, store, roots, checked) {
		return
	}
	if d.valid && len(d.config.Tenants) > 0 && (store == nil || d.plan(ctx, store, roots)) {
		d.onScratchDatabase(ctx, roots, checked)
	}
}

func printFindings(out io.Writer, findings []finding) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Result, f.Check, f.Text)
	}
	return w.Flush()
}

func printFindingsJSON(out io.Writer, findings []finding) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(findings)
}
