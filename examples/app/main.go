// Command app shows an app that keeps its sessions with Latchkey: a page that
// signs in, lists the user's devices and signs them out, and an API that
// verifies access tokens offline and asks for a stronger proof before it moves
// money.
//
//	go run ./examples/app
//
// starts a Latchkey in development mode and the app, and serves
// http://localhost:9000. -listen, -latchkey-port and -issuer say otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

// run serves the app until ctx ends.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("app", flag.ContinueOnError)
	listen := flags.String("listen", "localhost:9000", "loopback address of the app")
	issuer := flags.String("issuer", "", "a Latchkey in development mode that runs already; by default one is started")
	port := flags.Int("latchkey-port", 8080, "port of the Latchkey that is started")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *issuer == "" {
		fmt.Fprintln(out, "Starting Latchkey, which is built first.")
		server, err := startLatchkey(ctx, *port)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.stop()) }()
		*issuer = server.issuer
		fmt.Fprintf(out, "Latchkey serves %s; its log is %s.\n", server.issuer, server.log())
	}

	api, err := newAPI(*issuer)
	if err != nil {
		return err
	}
	defer api.Close()
	behind, err := net.Listen("tcp", "127.0.0.1:0") // only the page's server calls it
	if err != nil {
		return err
	}
	page, err := newPage(*issuer, "http://"+behind.Addr().String()+"/")
	if err != nil {
		return errors.Join(err, behind.Close())
	}
	defer page.Close()
	front, err := net.Listen("tcp", *listen)
	if err != nil {
		return errors.Join(err, behind.Close())
	}
	fmt.Fprintf(out, "Open http://%s in two browsers, or a browser and a private window of it. Ctrl-C ends everything.\n", *listen)
	return serve(ctx, map[net.Listener]http.Handler{behind: api.Handler(), front: page.Handler()})
}

// serve ends when ctx does, or when one of the servers fails.
func serve(ctx context.Context, handlers map[net.Listener]http.Handler) error {
	ended := make(chan error, len(handlers))
	var servers []*http.Server
	for l, h := range handlers {
		s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second}
		servers = append(servers, s)
		go func() { ended <- s.Serve(l) }()
	}
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(patience))
	}
	return err
}
