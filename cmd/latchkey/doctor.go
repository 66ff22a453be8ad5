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
	"github.com/latchkey/latchkey/oauth"
)

func newDoctor(s *sharedFlags) *cobra.Command {
	d := doctor{flags: s, patience: feedPatience}
	var secretFile string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check a deployment, and say what to do",
		Long: `Checks the configuration, the files that it names, the database, the clocks, the
root secrets, the signing keys and the trusted issuers of a deployment. It prints
a line for each check, and changes nothing. It can run before the first start
and beside running servers; run it on a machine of theirs, as their user.

With --url it also asks the public URL, through whatever is in front of the
servers. With --client and --client-secret-file (a client with a secret, which
may read the revocation feed) it also waits for the feed, which some proxies
hold back.

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
	cmd.Flags().StringVar(&d.url, "url", "", "also ask the deployment at this URL, the one that clients use")
	cmd.Flags().StringVar(&d.client, "client", "", "id of a client with a secret, to read the revocation feed with")
	cmd.Flags().StringVar(&secretFile, "client-secret-file", "", "file with that client's secret")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

// What became of a check.
const (
	isOK      = "ok"
	isWarning = "warning" // works, but not as somebody would want it
	isFault   = "fault"   // does not work, or is not safe
	isSkipped = "skipped" // could not be checked, because of a fault or for lack of an option
)

// finding is what became of one check, in a sentence.
type finding struct {
	Result string `json:"result"`
	Check  string `json:"check"`
	Text   string `json:"text"`
}

// doctor examines a deployment. It writes nothing anywhere.
type doctor struct {
	flags          *sharedFlags
	url            string // public; empty: not asked
	client, secret string // for the revocation feed; empty: not read
	patience       time.Duration

	config   *config.Config
	sound    bool     // the configuration has no fault
	kids     []string // of the tenant default, as the database has them
	findings []finding
}

// quiet is the log of what the doctor uses: its findings say it all.
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
	if d.sound = len(faults) == 0; d.sound {
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
		return "LATCHKEY_… variables alone; no file was given by --config"
	}
	return d.flags.path
}

// stored examines what needs the database, as far as it can be reached.
func (d *doctor) stored(ctx context.Context) {
	const unchecked = "signing keys, root secrets and trusted issuers were not checked: "
	store, empty := d.database(ctx)
	if store != nil {
		defer store.Close()
	} else if !empty {
		d.add(isSkipped, "tenants", unchecked+"see database and schema")
		return
	}
	keys, err := oauth.NewKeys(d.config.Secret)
	if err != nil {
		d.add(isSkipped, "tenants", unchecked+"%v", err)
		return
	}
	asked := map[string]bool{}
	if store != nil && !d.served(ctx, store, keys, asked) {
		return
	}
	if d.sound && len(d.config.Tenants) > 0 && (store == nil || d.weigh(ctx, store, keys)) {
		d.onStandIn(ctx, keys, asked)
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
