// Command app is an example of an app that uses Latchkey for its sessions: a page
// that signs in, lists the user's devices and signs them out, and an API that
// verifies access tokens offline and requires a stronger proof before it moves
// money.
//
//	go run ./examples/app
//
// The app listens on http://localhost:9000. It uses a running `latchkey dev` at
// http://localhost:8080, or starts one. Use -listen, -issuer and -latchkey-port for
// other addresses.
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
	issuer := flags.String("issuer", "", "URL of a running Latchkey in development mode (default: use the one at -latchkey-port, or start one)")
	port := flags.Int("latchkey-port", 0, "port of the Latchkey to use or start (default 8080, or a free port if another program uses 8080)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *issuer == "" {
		server, err := findLatchkey(ctx, *port, out)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.stop()) }()
		*issuer = server.issuer
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
	fmt.Fprintf(out, "Open http://%s in two browsers, or in a browser and one of its private windows. Press Ctrl-C to stop.\n", *listen)
	return serve(ctx, map[net.Listener]http.Handler{behind: api.Handler(), front: page.Handler()})
}

// serve returns when ctx ends or one of the servers fails.
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
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(ending))
	}
	return err
}
