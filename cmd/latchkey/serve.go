package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
)

func newServe(s *sharedFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Runs the server until it receives SIGINT or SIGTERM. It then continues to serve
for shutdown_delay while /readyz fails, and waits for requests in progress.
SIGHUP reloads the TLS certificate.

Every start applies the tenants of the configuration. From then on only that file
can change them (set tenants_at_start to once or off for another behavior).
Whatever the file does not name stays as it is.

Two settings have no default:

  LATCHKEY_ISSUER   the base URL, such as https://id.example.com
  LATCHKEY_SECRET   the root secret (create one with "latchkey secret new")`,
		Example: `  export LATCHKEY_ISSUER=http://localhost:8080
  export LATCHKEY_SECRET=$(latchkey secret new)
  latchkey serve --config latchkey.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load(config.ForServe)
			if err != nil {
				return err
			}
			return runServe(cmd.Context(), c)
		},
	}
}

func runServe(ctx context.Context, c *config.Config) error {
	surviveClosedPipes()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	format := logFormat(c.Log.Level, c.Log.Format)
	lines := newLogWriter(os.Stderr, format)
	defer lines.Close()
	log := slog.New(format(lines))
	if !c.Given("shutdown_delay") && isatty.IsTerminal(os.Stderr.Fd()) {
		c.ShutdownDelay = 0 // at a terminal: no load balancer to wait for
	}
	warnAboutFiles(c, log)
	warnAboutNetwork(c, log)
	l, err := openListeners(c, log)
	if err != nil {
		return err
	}
	n, err := newNode(ctx, c, log)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer n.store.Close()
	defer gcBallast()()
	n.hangups, n.logLost = hangups, lines.Lost
	log.Info("serving", "issuer", c.Issuer, "listen", l.serving.Addr().String(), "database", n.store.Dialect())
	err = n.serve(ctx, l)
	log.Info("stopped")
	return err
}
