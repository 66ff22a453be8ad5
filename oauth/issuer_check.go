package oauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/oauth/issuerkeys"
	"github.com/latchkey/latchkey/settings"
)

// ErrIssuerMisconfigured means that an issuer responds, but what it publishes
// does not match its entry in the configuration. A retry does not help.
var ErrIssuerMisconfigured = issuerkeys.ErrMisconfigured

// IssuerCheck is the result of the check of one trusted issuer.
type IssuerCheck struct {
	Issuer string // its URL
	// Err is nil if tokens of the issuer can be verified now. It is an
	// ErrIssuerMisconfigured if the operator must change something, and any
	// other error if the issuer may only be unreachable.
	Err error
}

// checkConcurrency bounds how many issuers are contacted at the same time.
const checkConcurrency = 8

// CheckIssuers fetches the keys of trusted issuers, as the first token of each
// would, and checks that one of them matches the algorithms of the entry. It
// skips entries whose keys are in the configuration. The fetched keys are kept
// for tokens.
func (s *Server) CheckIssuers(ctx context.Context, entries []settings.IssuerSettings) []IssuerCheck {
	var remote []settings.IssuerSettings
	for _, e := range entries {
		if !e.Disabled && (e.Keys.Discovery || e.Keys.JWKSURI != "") {
			remote = append(remote, e)
		}
	}
	checks := make([]IssuerCheck, len(remote))
	slots := make(chan struct{}, checkConcurrency)
	var checking sync.WaitGroup
	for i, e := range remote {
		checking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			checks[i] = IssuerCheck{e.Issuer, s.registry.checkIssuer(ctx, e)}
		})
	}
	checking.Wait()
	return checks
}

// checkIssuer fetches the keys of one issuer and checks them.
func (r *registry) checkIssuer(ctx context.Context, settings settings.IssuerSettings) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", issuerkeys.ErrUnavailable, ctx.Err())
	}
	source, err := r.sources.Source(settings)
	if err != nil {
		return err
	}
	return (&issuerEntry{source: source, algorithms: acceptedAlgorithms(settings)}).check(ctx)
}

// check looks for a key that matches one of the entry's algorithms.
func (e *issuerEntry) check(ctx context.Context) error {
	keys, err := e.source.Keys(ctx, func(k jose.JSONWebKey) bool { return issuerkeys.Static{k}.SupportAny(e.algorithms) })
	switch {
	case err != nil:
		return err
	case len(keys) == 0:
		return &issuerkeys.Fault{
			Problem:  "no key of the issuer matches the configured algorithms",
			Expected: strings.Join(e.algorithms, " or "), Received: "keys of other algorithms",
			Advice: "set algorithms to those that sign its tokens",
		}
	}
	return nil
}

// TrustedIssuers returns the enabled trusted issuers of every enabled tenant.
func (s *Server) TrustedIssuers(ctx context.Context) ([]settings.IssuerSettings, error) {
	revisions, err := s.store.TenantRevisions(ctx)
	if err != nil {
		return nil, err
	}
	var entries []settings.IssuerSettings
	for id := range revisions {
		config, err := s.store.TenantConfig(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, row := range config.Issuers {
			if config.Enabled() && row.Enabled() {
				entries = append(entries, row.Settings)
			}
		}
	}
	return entries, nil
}

// IssuerFetches counts the fetches of an issuer's keys since this node started.
type IssuerFetches = issuerkeys.Fetches

// IssuerFetches reports on every issuer whose keys this node has fetched or
// tried to fetch.
func (s *Server) IssuerFetches() []IssuerFetches { return s.registry.sources.Fetches() }

// IssuerAdvice returns what is wrong with a trusted issuer and what to do about it,
// without anything that the issuer sent: its address may be a private one.
func IssuerAdvice(err error) string {
	var f *issuerkeys.Fault
	if !errors.As(err, &f) {
		return "What it publishes does not match the configuration."
	}
	return f.Problem + ": expected " + f.Expected + "; " + f.Advice
}
