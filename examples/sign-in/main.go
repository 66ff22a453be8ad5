// Command sign-in is an example of a back end that signs users in itself, with a
// password, a passkey or a link by email, and has Latchkey keep their sessions.
//
//	go run ./cmd/latchkey serve --config examples/sign-in/latchkey.yaml
//	go -C examples/sign-in run .
//
// Users, passkeys and links are in memory. docs/sign-in-yourself.md explains each way.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/latchkey/latchkey/sdk/go/resource"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sign-in:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It prints emails to out.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("sign-in", flag.ContinueOnError)
	listen := flags.String("listen", "localhost:9100", "loopback address to listen on")
	issuer := flags.String("issuer", "http://localhost:8080", "URL of Latchkey")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := newServer("http://"+*listen, &latchkey{*issuer, "backend", "backend-secret-for-development-only"}, func(to, text string) {
		fmt.Fprintf(out, "Email to %s: %s\n", to, text)
	})
	if err != nil {
		return err
	}
	defer s.verifier.Close()
	front := &http.Server{Addr: *listen, Handler: s.handler(), ReadTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = front.Close()
	}()
	fmt.Fprintf(out, "Open http://%s. Press Ctrl-C to stop.\n", *listen)
	if err := front.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// server signs users in.
type server struct {
	origin   string
	latchkey *latchkey
	mail     func(to, text string)
	users    *users

	webauthn   *webauthn.WebAuthn
	ceremonies *once[webauthn.SessionData]
	links      *once[string] // user ids
	verifier   *resource.Verifier
	signedIn   func(http.Handler) http.Handler
}

func newServer(origin string, l *latchkey, mail func(to, text string)) (*server, error) {
	verifier, err := resource.NewVerifier(l.issuer, l.clientID, resource.VerifierOptions{ClientID: l.clientID, ClientSecret: l.secret})
	if err != nil {
		return nil, err
	}
	middleware, err := resource.NewMiddleware(verifier, resource.MiddlewareOptions{})
	if err != nil {
		return nil, errors.Join(err, verifier.Close())
	}
	w, err := newWebAuthn(origin)
	if err != nil {
		return nil, errors.Join(err, verifier.Close())
	}
	return &server{
		origin: origin, latchkey: l, mail: mail,
		users:      newUsers("alice@example.com", "correct horse battery staple"),
		webauthn:   w,
		ceremonies: newOnce[webauthn.SessionData](5 * time.Minute),
		links:      newOnce[string](15 * time.Minute),
		verifier:   verifier,
		// Whoever adds a passkey can sign in from then on, so the user must have
		// signed in recently.
		signedIn: middleware.Require(resource.MaxAge(5 * time.Minute)),
	}, nil
}

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Parse(pageHTML))

//go:embed page.js
var script []byte

// handler rejects requests from pages of other origins and bodies over 64 KiB.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _ = page.Execute(w, s.latchkey.issuer) })
	mux.HandleFunc("GET /page.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = w.Write(script)
	})
	mux.HandleFunc("POST /password", s.password)
	mux.Handle("POST /passkey/add/options", s.signedIn(http.HandlerFunc(s.addOptions)))
	mux.Handle("POST /passkey/add", s.signedIn(http.HandlerFunc(s.add)))
	mux.HandleFunc("POST /passkey/options", s.passkeyOptions)
	mux.HandleFunc("POST /passkey", s.passkey)
	mux.HandleFunc("POST /link", s.sendLink)
	mux.HandleFunc("POST /link/redeem", s.redeemLink)
	return http.MaxBytesHandler(http.NewCrossOriginProtection().Handler(mux), 64<<10)
}

// signIn answers with a client token, which the page exchanges for a session.
func (s *server) signIn(w http.ResponseWriter, r *http.Request, u *user, amr string) {
	token, err := s.latchkey.clientToken(r.Context(), u, amr)
	if err != nil {
		slog.ErrorContext(r.Context(), "mint a client token", "error", err)
		http.Error(w, "The session server does not respond. Try again in a moment.", http.StatusServiceUnavailable)
		return
	}
	answer(w, map[string]string{"client_token": token})
}
