// Command latchkey is a session and token server: it exchanges the client token of
// any authentication service for a session.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func main() {
	ctx := untilSignal()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "latchkey:", err)
		os.Exit(1)
	}
}

// untilSignal returns a context that the first SIGINT or SIGTERM cancels. It then
// restores the default action of both signals, so that a second one ends the
// process at once.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		signal.Stop(stop)
		cancel()
	}()
	return ctx
}

// newCommand returns the root command with all of its subcommands.
func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "latchkey",
		Short: "A session and token server",
		Long: `Latchkey exchanges a client token (a short-lived JWT with which any authentication
service proves who the user is) for a session: an RS256 JWT access token that
anyone can verify offline, and a single-use rotating refresh token.

New here? "latchkey dev" demonstrates everything in a minute, without any set-up.`,
		Example:       "  latchkey dev\n  latchkey serve --config latchkey.yaml",
		Version:       thisBuild().String(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	var flags sharedFlags
	root.PersistentFlags().StringVarP(&flags.path, "config", "c", os.Getenv("LATCHKEY_CONFIG"), "configuration file (YAML); LATCHKEY_… variables override it")
	root.AddCommand(
		newDev(), newServe(&flags), newApply(&flags), newMigrate(&flags), newRestored(&flags),
		newSuspend(&flags), newResume(&flags), newUsers(&flags), newSessions(&flags), newEvents(&flags), newDestinations(&flags), newExplain(&flags),
		newKeys(&flags), newSecret(&flags), newAdminKeys(&flags), newHealthcheck(&flags),
		newDoctor(&flags), newVersion(&flags),
	)
	root.SetFlagErrorFunc(flagError)
	return root
}

// flagError explains how to pass an argument that was taken for a flag: the ids of
// keys and of users may begin with "-".
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && (cmd.ValidateArgs([]string{"ID"}) == nil || cmd.ValidateArgs([]string{"user", "ID"}) == nil) {
		return fmt.Errorf(`%w; put "--" before an argument that begins with "-"`, err)
	}
	return err
}

// group returns a command that only holds subcommands.
func group(use, short string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		Args: cobra.NoArgs, // report an unknown subcommand as an error
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
}
