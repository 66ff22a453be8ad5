package oauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/settings"
)

// ErrIssuerMisconfigured means that an issuer responds, but what it publishes
// does not match its entry in the configuration. A retry does not help.
var ErrIssuerMisconfigured = errors.New("the trusted issuer is misconfigured")

// issuerFault is an ErrIssuerMisconfigured with what an operator needs to
// correct it.
type issuerFault struct {
	problem            string
	expected, received string
	advice             string
}

// Error implements error.
func (f *issuerFault) Error() string {
	return fmt.Sprintf("%s: expected %s, received %s; %s", f.problem, f.expected, f.received, f.advice)
}

// Is implements errors.Is.
func (f *issuerFault) Is(target error) bool { return target == ErrIssuerMisconfigured }

// issuerMismatchFault returns the fault of a discovery document whose issuer
// differs from that of the entry. A trailing slash is a difference.
func issuerMismatchFault(expected, received string) error {
	return &issuerFault{"issuer in the discovery document does not match the configuration", fmt.Sprintf("%q", expected), fmt.Sprintf("%q", forLog(received)),
		"set issuer exactly as in the document"}
}

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
			checks[i] = IssuerCheck{e.Issuer, s.registry.sources.check(ctx, e)}
		})
	}
	checking.Wait()
	return checks
}

// check fetches the keys of one issuer and checks them.
func (s *keySources) check(ctx context.Context, settings settings.IssuerSettings) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrIssuerUnavailable, ctx.Err())
	}
	source, err := s.source(settings)
	if err != nil {
		return err
	}
	return (&issuerEntry{source: source, algorithms: acceptedAlgorithms(settings)}).check(ctx)
}

// check looks for a key that matches one of the entry's algorithms.
func (e *issuerEntry) check(ctx context.Context) error {
	keys, err := e.source.keys(ctx, func(k jose.JSONWebKey) bool { return staticKeys{k}.supportAny(e.algorithms) })
	switch {
	case err != nil:
		return err
	case len(keys) == 0:
		return &issuerFault{"no key of the issuer matches the configured algorithms", strings.Join(e.algorithms, " or "), "keys of other algorithms",
			"set algorithms to those that sign its tokens"}
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
type IssuerFetches struct {
	Issuer       string
	Good, Failed uint64
	Age          time.Duration // of the cached keys; negative: there are none
}

// IssuerFetches reports on every issuer whose keys this node has fetched or
// tried to fetch. Entries with the same issuer but different addresses of its
// keys are combined: their fetches are added, and Age is that of the oldest
// keys.
func (s *Server) IssuerFetches() []IssuerFetches {
	sources := s.registry.sources
	sources.mu.Lock()
	defer sources.mu.Unlock()
	by := map[string]*IssuerFetches{}
	for _, r := range sources.remote {
		r.mu.Lock()
		if r.fetches > 0 {
			if by[r.issuer] == nil {
				by[r.issuer] = &IssuerFetches{Issuer: r.issuer, Age: -1}
			}
			of := by[r.issuer]
			of.Good, of.Failed = of.Good+r.fetches-r.failures, of.Failed+r.failures
			if r.set != nil {
				of.Age = max(of.Age, r.now().Sub(r.fetchedAt), 0)
			}
		}
		r.mu.Unlock()
	}
	var list []IssuerFetches
	for _, of := range by {
		list = append(list, *of)
	}
	return list
}

// IssuerAdvice returns what is wrong with a trusted issuer and what to do about it,
// without anything that the issuer sent: its address may be a private one.
func IssuerAdvice(err error) string {
	var f *issuerFault
	if !errors.As(err, &f) {
		return "What it publishes does not match the configuration."
	}
	return f.problem + ": expected " + f.expected + "; " + f.advice
}
