package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

// demoSecret is the secret of the demo back end. It protects nothing, because dev
// mode signs in anybody.
const demoSecret = "demo-api-secret-for-development-only"

// The default address of dev mode. examples/app expects the server there.
const (
	defaultDevListen = "127.0.0.1:8080"
	defaultDevIssuer = "http://localhost:8080"
)

func newDev() *cobra.Command {
	var d dev
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a demo in a minute: embedded database, demo tenant, clients and issuer",
		Long: `Starts a server for development with an embedded database, a public client
"demo-web", a secret client "demo-api" and a demo issuer that signs in anybody.
It demonstrates an exchange, an offline verification, a refresh, a retried
refresh, a detected replay and a revocation with real requests to itself, and
then continues to serve. It stores everything in one folder, which the next start
reuses.

With --verbose it prints every request as a shell command, and every response in
full.`,
		Example: "  latchkey dev\n  latchkey dev --verbose\n  latchkey dev --data /tmp/latchkey --listen 127.0.0.1:8081",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return d.run(cmd) },
	}
	cmd.Flags().StringVar(&d.folder, "data", "latchkey-dev", "folder for the database and the keys")
	cmd.Flags().StringVar(&d.listen, "listen", defaultDevListen, "loopback address to listen on; the issuer is http://localhost with its port")
	cmd.Flags().BoolVar(&d.verbose, "verbose", false, "print every request as a shell command, and every response in full")
	return cmd
}

// dev holds the flags of `latchkey dev`.
type dev struct {
	folder, listen string
	verbose        bool
}

func (d dev) run(cmd *cobra.Command) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	folder, err := filepath.Abs(d.folder)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Latchkey for development. Data folder: %s\n", folder)
	c, err := devConfig(folder, d.listen)
	if err != nil {
		return err
	}
	issuer, err := demoIssuer(folder, c.Issuer)
	if err != nil {
		return err
	}
	if c.Tenants, err = demoTenants(issuer); err != nil {
		return err
	}
	if faults := append(c.Validate(config.ForServe), oauth.CheckTenants(c.Tenants)...); len(faults) > 0 {
		return faults
	}
	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn)
	if !d.verbose { // hide the warning about the demonstrated replay
		level.Set(slog.LevelError)
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	l, err := openListeners(c, log)
	if err != nil {
		return fmt.Errorf("%w (to use another address: latchkey dev --listen 127.0.0.1:8081)", err)
	}
	n, err := newNode(ctx, c, log)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer n.store.Close()
	n.dev = issuer
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- n.serve(ctx, l) }()
	if err := walkThrough(ctx, newPrinter(out, d.verbose, colored(out)), c.Issuer); err != nil && ctx.Err() == nil {
		cancel()
		return errors.Join(err, <-served)
	}
	if err := printConsole(ctx, out, n, folder); err != nil && ctx.Err() == nil {
		cancel()
		return errors.Join(err, <-served)
	}
	level.Set(slog.LevelInfo)
	if err := <-served; err != nil {
		return err
	}
	fmt.Fprintf(out, "Stopped. The data is kept in %s\n", folder)
	return nil
}

// devConfig returns the configuration of dev mode. Everything except the address
// is fixed.
func devConfig(folder, listen string) (*config.Config, error) {
	port, err := loopbackPort(listen)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	if err := ownFolder(folder); err != nil {
		return nil, err
	}
	secret, err := keepFile(filepath.Join(folder, "root-secret"), func() ([]byte, error) { return []byte(keys.NewRootSecret()), nil })
	if err != nil {
		return nil, err
	}
	database := filepath.Join(folder, "latchkey.db")
	file, err := os.OpenFile(database, os.O_CREATE, 0o600) // SQLite would create it world-readable
	if err != nil {
		return nil, err
	}
	file.Close()
	c := config.Default()
	c.Issuer = "http://localhost:" + port
	c.Listen, c.AdminListen, c.MetricsListen = listen, listen, config.None
	c.ShutdownDelay = 0
	c.Secret = config.Secrets{string(secret)}
	c.Database.URL = "sqlite:" + database
	return c, nil
}

// loopbackPort returns the port of an address on this machine. It must be a known
// number other than 0, because it is part of the issuer.
func loopbackPort(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	number, notNumber := strconv.ParseUint(port, 10, 16)
	ip := net.ParseIP(host)
	if err != nil || notNumber != nil || number == 0 || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", errors.New("--listen must be a loopback address with a port, such as 127.0.0.1:8080")
	}
	return port, nil
}

// keepFile reads a file, and first creates it for its owner alone if it does not
// exist.
func keepFile(path string, content func() ([]byte, error)) ([]byte, error) {
	text, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	if text, err = content(); err != nil {
		return nil, err
	}
	return text, os.WriteFile(path, text, 0o600)
}

// demoIssuer returns an issuer that signs in anybody. Its key is kept beside the database.
func demoIssuer(folder, issuer string) (*oauth.ClientTokenIssuer, error) {
	text, err := keepFile(filepath.Join(folder, "demo-issuer.pem"), func() ([]byte, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
	})
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("demo-issuer.pem is damaged: remove it, and the next start creates a new one")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("demo-issuer.pem: %w", err)
	}
	return &oauth.ClientTokenIssuer{Issuer: issuer + "/client-tokens", Audience: issuer, Key: key.(crypto.Signer), Now: time.Now}, nil
}

// demoTenants returns a configuration such as an operator would write.
func demoTenants(issuer *oauth.ClientTokenIssuer) ([]settings.TenantSpec, error) {
	minute := settings.Duration(time.Minute)
	jwks, err := issuer.JWKS()
	if err != nil {
		return nil, err
	}
	return []settings.TenantSpec{{
		ID: settings.DefaultTenant,
		TrustedIssuers: []settings.IssuerSpec{{IssuerSettings: settings.IssuerSettings{
			Issuer: issuer.Issuer, TokenType: settings.TokenTypeJWT, Algorithms: []string{"ES256"}, Keys: settings.IssuerKeys{JWKS: jwks},
			UserAttributes: map[string]string{"email": "token.email", "plan": "token.plan"},
			ShareSubjects:  true, // with the entries that starts at other addresses created
		}}},
		Clients: []settings.ClientSpec{
			{ID: "demo-web", ClientSettings: settings.ClientSettings{
				Name: "Demo web app", Auth: settings.AuthNone, Grants: []string{settings.GrantTokenExchange, settings.GrantRefresh},
				RefreshGrace: &minute, // long enough for pasting commands by hand
				Audiences:    []string{"demo-api"},
				Scopes:       []string{"profile", "orders:read"}, Origins: []string{"http://localhost:3000", "http://localhost:5173"},
				Claims:     map[string]string{"email": "user.email", "plan": "has(user.plan) ? user.plan : 'free'"},
				StatusList: true,
			}},
			{ID: "demo-api", Secret: demoSecret, ClientSettings: settings.ClientSettings{
				Name: "Demo back end", Auth: settings.AuthSecret, Grants: []string{settings.GrantClientCredentials},
				Introspect: settings.IntrospectAll, Scopes: []string{"orders:read"},
			}},
		},
		Users: []settings.UserSpec{{Sub: "alice", Attributes: map[string]any{"email": "alice@example.com", "plan": "pro"}}},
	}}, nil
}
