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
		Long: `Runs the server until it gets SIGINT or SIGTERM. It then reports that it is not
ready for shutdown_delay, still serves, and lets requests under way finish.
SIGHUP reloads the TLS certificate. What the configuration says of tenants is applied at every start, and
only there changed from then on (tenants_at_start: once or off to do otherwise);
what it does not name is left alone. Two settings have no default:

  LATCHKEY_ISSUER   the base URL, such as https://id.example.com
  LATCHKEY_SECRET   the root secret ("latchkey secret new" makes one)`,
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
		c.ShutdownDelay = 0 // no load balancer, and a person who waits
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
	defer keepHeadroom()()
	n.hangups, n.logLost = hangups, lines.Lost
	log.Info("serving", "issuer", c.Issuer, "listen", l.serving.Addr().String(), "database", n.store.Dialect())
	err = n.serve(ctx, l)
	log.Info("stopped")
	return err
}
