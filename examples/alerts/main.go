// Command alerts is an example of a receiver of webhooks. It counts the events of
// Latchkey for Prometheus, whose rules (rules.yml) alert on them, and posts those that
// need a person to a chat, in the form that Slack and Mattermost accept.
//
//	WEBHOOK_SECRET=whsec_… SLACK_URL=https://hooks.slack.com/… go run ./examples/alerts
//
// Receive webhooks at /hooks, and let Prometheus scrape /metrics.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "alerts:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("alerts", flag.ContinueOnError)
	listen := flags.String("listen", "localhost:9400", "address to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r, err := newReceiver(os.Getenv("WEBHOOK_SECRET"), os.Getenv("SLACK_URL"))
	if err != nil {
		return err
	}
	server := &http.Server{Addr: *listen, Handler: r.handler(), ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		stopped <- server.Shutdown(last)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
