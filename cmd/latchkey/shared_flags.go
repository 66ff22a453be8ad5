package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

// sharedFlags holds the flags that all commands share.
type sharedFlags struct {
	path    string
	server  string // of the admin API; empty: work on the database
	keyFile string
}

// read loads the configuration and returns every fault that shows without the
// database.
func (s *sharedFlags) read(use config.Use) (*config.Config, settings.Faults, error) {
	c, faults, err := config.Load(s.path, os.Environ())
	if err != nil {
		return nil, nil, err
	}
	return c, append(faults, c.Validate(use)...), nil
}

// readApart is read, with the tenants from another file.
func (s *sharedFlags) readApart(tenants string, use config.Use) (*config.Config, settings.Faults, error) {
	c, faults, err := config.LoadApart(s.path, tenants, os.Environ())
	if err != nil {
		return nil, nil, err
	}
	return c, append(faults, c.Validate(use)...), nil
}

// load reads and checks the configuration. Its error lists every fault.
func (s *sharedFlags) load(use config.Use) (*config.Config, error) {
	c, faults, err := s.check(use)
	if err == nil && len(faults) > 0 {
		err = faulty(faults)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// check is load, but returns the faults apart from the error.
func (s *sharedFlags) check(use config.Use) (*config.Config, settings.Faults, error) {
	c, faults, err := s.read(use)
	if err != nil {
		return nil, nil, err
	}
	if use == config.ForServe {
		faults = append(faults, c.Unreported(oauth.CheckTenants(c.Tenants))...)
	}
	return c, faults.Named(c.Tenants), nil
}

// newServer returns the protocol server that c describes.
func newServer(c *config.Config, store *models.Store, roots *keys.Roots, log *slog.Logger) (*oauth.Server, error) {
	var proxy *url.URL
	if c.Fetch.Proxy != "" {
		var err error
		if proxy, err = url.Parse(c.Fetch.Proxy); err != nil {
			return nil, errors.New("fetch.proxy is not a URL") // do not quote it: it may contain a password
		}
	}
	return oauth.New(oauth.Config{FetchProxy: proxy, Issuer: c.Issuer, Store: store, Keys: roots, Log: log, IntrospectionMaxAge: c.Introspection.MaxAge.Std()}), nil
}

// faulty returns an error that lists every fault of a configuration.
func faulty(faults settings.Faults) error {
	return fmt.Errorf("the configuration has %s:\n%w", plural(len(faults), "fault"), faults)
}

// fileOf returns the revision and digest of the tenants in c.
func fileOf(c *config.Config, roots *keys.Roots) (models.File, error) {
	content, err := models.FileContent(c.Tenants)
	f := models.File{Revision: c.Revision}
	f.Digest, f.Known = roots.DigestFile(content)
	return f, err
}

// validate returns the function that checks the tenants as they are after c is applied.
func validate(c *config.Config) func([]settings.TenantSpec) settings.Faults {
	return func(tenants []settings.TenantSpec) settings.Faults {
		return append(settings.ValidateTenants(tenants, c.Issuer), oauth.CheckTenants(tenants)...)
	}
}

// logger returns a logger that writes to standard error in the configured format.
func logger(c config.Log) *slog.Logger {
	return slog.New(logFormat(c.Level, c.Format)(os.Stderr))
}

// open opens the database, and migrates or checks its schema.
func open(ctx context.Context, c *config.Config, log *slog.Logger) (*models.Store, error) {
	store, err := models.Open(ctx, c.Database.URL, storeOptions(c, log))
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, c, store, log); err != nil {
		store.Close()
		return nil, err
	}
	return store, nil
}

// storeOptions returns the settings of the database, except its URL.
func storeOptions(c *config.Config, log *slog.Logger) models.Options {
	return models.Options{NoPreparedStatements: !c.Database.PreparedStatements, MaxConnections: c.Database.MaxConnections, Log: log}
}

func prepare(ctx context.Context, c *config.Config, store *models.Store, log *slog.Logger) error {
	schema, err := store.Schema(ctx)
	if err != nil {
		return err
	}
	if len(schema.Unknown) > 0 {
		log.Warn("the database schema is newer than this release: run this release only until all nodes are upgraded", "migrations", schema.Unknown)
	}
	switch {
	case c.Database.Migrate:
		return store.Migrate(ctx)
	case len(schema.Missing) > 0:
		return errors.New("the database schema is older than this release: run `latchkey migrate` (serve and apply migrate it themselves unless database.migrate is false)")
	}
	return nil
}

// openAll opens the database and derives the keys, for every command except migrate.
func openAll(ctx context.Context, c *config.Config, log *slog.Logger) (*models.Store, *keys.Roots, error) {
	roots, err := keys.NewRoots(c.Secret)
	if err != nil {
		return nil, nil, err
	}
	store, err := models.Open(ctx, c.Database.URL, storeOptions(c, log))
	if err != nil {
		return nil, nil, err
	}
	schema, err := store.Schema(ctx)
	if err == nil && !schema.Empty { // check before writing anything, even the schema
		err = oauth.New(oauth.Config{Issuer: c.Issuer, Store: store, Keys: roots, Log: log}).CheckRootSecret(ctx)
	}
	if err == nil {
		err = prepare(ctx, c, store, log)
	}
	if err != nil {
		store.Close()
		return nil, nil, err
	}
	return store, roots, nil
}

// missingDatabase reports whether the database is a file that does not exist yet.
// Only some commands create it.
func missingDatabase(c *config.Config) (path string, missing bool) {
	path, isFile := strings.CutPrefix(c.Database.URL, "sqlite:")
	path = strings.TrimPrefix(path, "//")
	_, err := os.Stat(path)
	return path, isFile && errors.Is(err, os.ErrNotExist)
}

// databaseExists returns an error if the database is a file that does not exist.
func databaseExists(c *config.Config) error {
	if path, missing := missingDatabase(c); missing {
		return fmt.Errorf("there is no database at %s: check the configuration and the current folder", path)
	}
	return nil
}

// existing is a deployment that exists, with its database open.
type existing struct {
	config *config.Config
	store  *models.Store
	keys   *keys.Roots
	log    *slog.Logger
}

// withDeployment calls fn with the deployment of the configuration.
func withDeployment(cmd *cobra.Command, s *sharedFlags, fn func(*existing) error) error {
	c, err := s.load(config.ForKeys)
	if err != nil {
		return err
	}
	if err := databaseExists(c); err != nil {
		return err
	}
	log := logger(c.Log)
	store, roots, err := openAll(cmd.Context(), c, log)
	if err != nil {
		return err
	}
	defer store.Close()
	return fn(&existing{c, store, roots, log})
}

// withKeys calls fn with the store and keys of the deployment.
func withKeys(cmd *cobra.Command, s *sharedFlags, fn func(*models.Store, *keys.Roots) error) error {
	return withDeployment(cmd, s, func(d *existing) error { return fn(d.store, d.keys) })
}
