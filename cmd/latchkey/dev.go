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
	"github.com/latchkey/latchkey/settings"
)

// demoSecret is the secret of the demo back end. It protects nothing: dev mode
// signs anybody in.
const demoSecret = "demo-api-secret-for-development-only"

// The default address of dev mode, where examples/app looks for it.
const (
	defaultDevListen = "127.0.0.1:8080"
	defaultDevIssuer = "http://localhost:8080"
)

func newDev() *cobra.Command {
	var d dev
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "See all of it in a minute: embedded database, demo tenant, clients and issuer",
		Long: `Starts a server for development with an embedded database, a public client
"demo-web", a secret client "demo-api" and a demo issuer that signs anybody in.
It walks through an exchange, an offline verification, a refresh, a retried
refresh, a detected replay and a revocation by real requests to itself, and then
keeps serving. Everything it stores is in one folder; a second start uses it
again.

With --verbose every request is printed as a command to paste into a shell, and
every answer whole.`,
		Example: "  latchkey dev\n  latchkey dev --verbose\n  latchkey dev --data /tmp/latchkey --listen 127.0.0.1:8081",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return d.run(cmd) },
	}
	cmd.Flags().StringVar(&d.folder, "data", "latchkey-dev", "folder for the database and the keys")
	cmd.Flags().StringVar(&d.listen, "listen", defaultDevListen, "loopback address to serve; the issuer is http://localhost and its port")
	cmd.Flags().BoolVar(&d.verbose, "verbose", false, "print every request as a shell command, and every answer whole")
	return cmd
}

// dev is what the flags of `latchkey dev` set.
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
	if !d.verbose { // the replay, which is on purpose, is a warning
		level.Set(slog.LevelError)
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	l, err := openListeners(c, log)
	if err != nil {
		return fmt.Errorf("%w (another address: latchkey dev --listen 127.0.0.1:8081)", err)
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
	level.Set(slog.LevelInfo)
	if err := <-served; err != nil {
		return err
	}
	fmt.Fprintf(out, "Stopped. Everything is kept in %s\n", folder)
	return nil
}

// devConfig is the configuration of dev mode: everything but the address is
// fixed.
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
	secret, err := keepFile(filepath.Join(folder, "root-secret"), func() ([]byte, error) { return []byte(oauth.NewRootSecret()), nil })
	if err != nil {
		return nil, err
	}
	database := filepath.Join(folder, "latchkey.db")
	file, err := os.OpenFile(database, os.O_CREATE, 0o600) // SQLite would make it for everybody to read
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

// loopbackPort is the port of an address on this machine. It must be a number
// that is known beforehand: the issuer's name has it.
func loopbackPort(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	number, notNumber := strconv.ParseUint(port, 10, 16)
	ip := net.ParseIP(host)
	if err != nil || notNumber != nil || number == 0 || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", errors.New("--listen must be a loopback address with a port, such as 127.0.0.1:8080")
	}
	return port, nil
}

// keepFile reads a file that only its owner may read, and makes it first if it
// is not there.
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

// demoIssuer signs anybody in. Its key is kept beside the database.
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
		return nil, errors.New("demo-issuer.pem is damaged: remove it")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("demo-issuer.pem: %w", err)
	}
	return &oauth.ClientTokenIssuer{Issuer: issuer + "/client-tokens", Audience: issuer, Key: key.(crypto.Signer), Now: time.Now}, nil
}

// demoTenants is a configuration such as a person would write.
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
			ShareSubjects:  true, // with itself, as it was called at another address
		}}},
		Clients: []settings.ClientSpec{
			{ID: "demo-web", ClientSettings: settings.ClientSettings{
				Name: "Demo web app", Auth: settings.AuthNone, Grants: []string{settings.GrantTokenExchange, settings.GrantRefresh},
				RefreshGrace: &minute, // so that pasting by hand is quick enough
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
