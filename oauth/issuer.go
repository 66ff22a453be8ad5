package oauth

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/oauth/issuerkeys"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// leeway is the clock difference that is tolerated in every JWT.
const leeway = session.Leeway

// Limits of client tokens for entries that set none.
const (
	defaultMaxAge          = 5 * time.Minute
	defaultTokenLifetime   = 10 * time.Minute
	defaultIDTokenLifetime = 24 * time.Hour
)

// issuerEntry is the entry of a trusted issuer as a node has loaded it.
type issuerEntry struct {
	models.TrustedIssuer
	audiences         []string
	acrValues         []string // of the tenant, from the weakest to the strongest
	algorithms        []string
	source            issuerkeys.Source // nil: a shared secret
	secret            []byte
	subject           *expr.Expression
	amr               *expr.Expression // nil: the claim amr is used
	userAttributes    expr.Mapping
	sessionAttributes expr.Mapping
}

// newSources returns the keys of all trusted issuers. A request that waits for an
// issuer gives its ticket back: it does not make this server busier.
func newSources(now func() time.Time, log *slog.Logger, proxy *url.URL) *issuerkeys.Sources {
	return issuerkeys.New(issuerkeys.Config{
		Now: now, Log: log, Proxy: proxy, ForLog: forLog,
		Waiting: func(ctx context.Context) { returnTicket(ctx) },
	})
}

// newIssuerEntry decrypts or parses the keys of an entry and compiles its
// expressions.
func (r *registry) newIssuerEntry(t *Tenant, row models.TrustedIssuer) (*issuerEntry, error) {
	s := row.Settings
	e := &issuerEntry{TrustedIssuer: row, audiences: s.Audiences, acrValues: t.classes().Values()}
	if len(e.audiences) == 0 {
		e.audiences = []string{t.Issuer}
	}
	var err error
	if s.Keys.Internal {
		e.Settings.Typ, e.algorithms, e.source = typClientToken, internalAlgorithms, ringSource{t.ring, r.now}
	} else if row.SealedSecret != nil {
		e.algorithms = []string{"HS256"}
		if e.secret, err = r.keys.OpenIssuerSecret(t.ID, s.Issuer, row.SealedSecret, row.RootVersion); err != nil {
			return nil, err
		}
	} else {
		e.algorithms = acceptedAlgorithms(s)
		if e.source, err = r.sources.Source(s); err != nil {
			return nil, err
		}
	}
	var faults settings.Faults
	e.compile(&faults, "")
	if len(faults) > 0 {
		return nil, faults
	}
	return e, nil
}

// acceptedAlgorithms returns the algorithms that an entry with public keys
// accepts.
func acceptedAlgorithms(s settings.IssuerSettings) []string {
	if len(s.Algorithms) == 0 {
		return []string{"RS256"}
	}
	names := make([]string, len(s.Algorithms))
	for i, alg := range s.Algorithms {
		names[i] = issuerkeys.AlgorithmName(alg)
	}
	return names
}

// compile compiles the entry's expressions.
func (e *issuerEntry) compile(faults *settings.Faults, path string) {
	envs, err := expr.Environments()
	if err != nil {
		faults.Add(path, "%v", err)
		return
	}
	s := e.Settings
	text := s.Subject
	if text == "" {
		text = "token.sub"
	}
	if e.subject, err = envs.Issuer.Compile(text, expr.String); err != nil {
		faults.Add(path+"subject", "%v", err)
	}
	if s.AMR != "" {
		if e.amr, err = envs.Issuer.Compile(s.AMR, expr.Strings); err != nil {
			faults.Add(path+"amr", "%v", err)
		}
	}
	e.userAttributes = envs.Issuer.CompileMapping(s.UserAttributes, path+"user_attributes", faults)
	e.sessionAttributes = envs.Issuer.CompileMapping(s.SessionAttributes, path+"session_attributes", faults)
}

// maxAge, maxLifetime and leeway are the entry's time limits.
func (e *issuerEntry) maxAge() time.Duration { return orDefault(e.Settings.MaxAge, defaultMaxAge) }

func (e *issuerEntry) leeway() time.Duration { return orDefault(e.Settings.Leeway, leeway) }

func (e *issuerEntry) maxLifetime() time.Duration {
	if e.Settings.TokenType == settings.TokenTypeIDToken {
		return orDefault(e.Settings.MaxTokenLifetime, defaultIDTokenLifetime)
	}
	return orDefault(e.Settings.MaxTokenLifetime, defaultTokenLifetime)
}

// orDefault returns d, or a default value if d is nil.
func orDefault(d *settings.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return d.Std()
}

// acceptsClient reports whether the client may use tokens of this entry.
func (e *issuerEntry) acceptsClient(c *Client) bool {
	if c.Settings.Public() && e.Settings.PublicClients != nil && !*e.Settings.PublicClients {
		return false
	}
	return len(e.Settings.Clients) == 0 || slices.Contains(e.Settings.Clients, c.ID)
}

// verifySignature checks the token's signature with the keys that match its
// header. issuerkeys.ErrUnavailable and ErrIssuerMisconfigured do not mean that the
// token is invalid.
func (e *issuerEntry) verifySignature(ctx context.Context, token string, h *jws.Header) error {
	alg := issuerkeys.AlgorithmName(h.Alg)
	if !slices.Contains(e.algorithms, alg) {
		return e.badAlgorithm(h.Alg)
	}
	if e.source == nil {
		return e.verifyShared(token)
	}
	keys, err := e.source.Keys(ctx, func(k jose.JSONWebKey) bool {
		return (h.Kid == "" || k.KeyID == "" || k.KeyID == h.Kid) && issuerkeys.Supports(k, alg)
	})
	switch {
	case err != nil:
		return err
	case len(keys) == 0:
		return badSubject(ReasonSubjectTokenKey, "no key of its issuer matches kid and alg in its header").compare("", h.Alg+" "+h.Kid)
	case h.Kid == "" && len(keys) > 1:
		return badSubject(ReasonSubjectTokenKey, "its header has no kid, and its issuer has more than one key for its alg")
	}
	set := &oidc.StaticKeySet{}
	for _, k := range keys {
		if h.Alg == "Ed25519" && verifyEd25519(token, k.Key) { // go-jose does not know this name (RFC 9864 §2.2)
			return nil
		}
		set.PublicKeys = append(set.PublicKeys, k.Key)
	}
	if _, err := set.VerifySignature(ctx, token); err != nil {
		return badSignature(err)
	}
	return nil
}

// badAlgorithm returns the refusal of a client token whose alg the entry does
// not accept.
func (e *issuerEntry) badAlgorithm(alg string) *Error {
	return badSubject(ReasonSubjectTokenAlgorithm, "alg in its header is not one of the algorithms of the trusted issuer").
		compare(strings.Join(e.algorithms, " or "), alg)
}

// badSignature returns the refusal of a client token whose signature is
// invalid.
func badSignature(cause error) *Error {
	return badSubject(ReasonSubjectTokenSignature, "its signature does not verify with the key of its issuer").withCause(cause)
}

// verifyEd25519 reports whether key is an Ed25519 key that verifies the token.
func verifyEd25519(token string, key any) bool {
	public, ok := key.(ed25519.PublicKey)
	signed, signature := cutLast(token, ".")
	raw, err := jws.DecodeBase64(signature)
	return ok && err == nil && ed25519.Verify(public, []byte(signed), raw)
}

// verifyShared checks the signature of a token with the shared secret.
func (e *issuerEntry) verifyShared(token string) error {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return e.badAlgorithm("").withCause(err)
	}
	if _, err := signed.Verify(e.secret); err != nil {
		return badSignature(err)
	}
	return nil
}
