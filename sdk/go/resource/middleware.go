package resource

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// Middleware protects the handlers of a resource server (RFC 6750). It is safe
// for concurrent use.
type Middleware struct {
	verifier *Verifier
	realm    string
	metadata *metadataDocument // nil: none is served
	log      *slog.Logger
}

// MiddlewareOptions describe a resource server. The zero value is valid.
type MiddlewareOptions struct {
	// URL identifies the resource: the URL that its clients call, https (or
	// http on loopback), without a query or a fragment. If it is set,
	// [Middleware.MetadataHandler] serves the resource's metadata, and
	// challenges refer to it (RFC 9728).
	URL string
	// Scopes lists the scopes that the metadata announces.
	Scopes []string
	// Realm is the realm of the challenges: printable ASCII without quotes and
	// backslashes. Default: "api".
	Realm string
	// Logger receives the reasons why requests are rejected, without any data
	// from the tokens. Default: slog.Default().
	Logger *slog.Logger
}

// NewMiddleware returns middleware that verifies tokens with v. It returns an
// error if the URL, the realm or a scope is invalid.
func NewMiddleware(v *Verifier, o MiddlewareOptions) (*Middleware, error) {
	if v == nil {
		return nil, errors.New("resource: the verifier is required")
	}
	m := &Middleware{verifier: v, realm: o.Realm, log: o.Logger}
	if m.realm == "" {
		m.realm = "api"
	}
	if m.log == nil {
		m.log = slog.Default()
	}
	if !isQuotable(m.realm) {
		return nil, fmt.Errorf("resource: invalid Realm %q: expected printable ASCII without quotes and backslashes", m.realm)
	}
	if o.URL != "" {
		var err error
		if m.metadata, err = newMetadataDocument(o.URL, v.keys.URL, o.Scopes); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Require returns middleware that lets a request through if its access token is
// valid and meets all requirements. The handler gets the token from
// [TokenFromContext].
//
// Other requests are answered: 401 with a challenge, 403 if a scope is missing,
// 400 if the Authorization header is malformed, and 503 if the token could not
// be checked. Browsers send preflight requests without a token: answer those
// before.
func (m *Middleware) Require(list ...Requirement) func(http.Handler) http.Handler {
	need := combine(list)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req, ok := m.check(w, req, need); ok {
				next.ServeHTTP(w, req)
			}
		})
	}
}

// Check is [Middleware.Require] for frameworks whose middleware has another
// shape, such as gin and echo. If ok is true, the returned request carries the
// token; otherwise the response has been written.
func (m *Middleware) Check(w http.ResponseWriter, req *http.Request, list ...Requirement) (authorized *http.Request, ok bool) {
	return m.check(w, req, combine(list))
}

func (m *Middleware) check(w http.ResponseWriter, req *http.Request, need requirements) (*http.Request, bool) {
	token, refused := m.decide(req, need)
	if refused != nil {
		refused.write(w, m.commonParams())
		return nil, false
	}
	return req.WithContext(ContextWithToken(req.Context(), token)), true
}

// decide checks a request. The token is verified before its scopes and classes
// are judged (RFC 9470 §3).
func (m *Middleware) decide(req *http.Request, need requirements) (*Token, *refusal) {
	text, refused := bearerToken(req)
	if refused != nil {
		return nil, refused
	}
	token, err := m.verifier.Verify(req.Context(), text)
	switch {
	case errors.Is(err, latchkey.ErrInvalidToken):
		m.log.DebugContext(req.Context(), "access token rejected", "error", err)
		return nil, &refusal{status: http.StatusUnauthorized, code: "invalid_token", description: "The access token is malformed, expired, revoked or for another resource"}
	case err != nil: // unknown errors do not condemn the token either
		m.log.DebugContext(req.Context(), "access token not verified", "error", err) // the verifier logs the outage once, at a higher level
		return nil, &refusal{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", description: "Access tokens cannot be verified at the moment; try again"}
	case need.lacksScope(token):
		return nil, &refusal{http.StatusForbidden, "insufficient_scope", "The access token lacks a required scope", []param{{"scope", strings.Join(need.scopes, " ")}}}
	case need.lacksAuthentication(token, m.verifier.options.Now(), m.verifier.options.Tolerance):
		return nil, &refusal{http.StatusUnauthorized, "insufficient_user_authentication", "The authentication does not satisfy acr_values or max_age; re-authenticate the user", need.params()}
	}
	return token, nil
}

// commonParams returns the parameters of every challenge.
func (m *Middleware) commonParams() []param {
	list := []param{{"realm", m.realm}}
	if m.metadata != nil {
		list = append(list, param{"resource_metadata", m.metadata.location})
	}
	return list
}

// bearerToken returns the token of a request, from its single Authorization
// header and nowhere else (RFC 6750 §2.1; RFC 9700 §4.3.2).
func bearerToken(req *http.Request) (string, *refusal) {
	given := req.Header.Values("Authorization")
	malformed := &refusal{status: http.StatusBadRequest, code: "invalid_request", description: "Expected one Authorization header of the form: Bearer token"}
	if len(given) > 1 {
		return "", malformed
	}
	if len(given) == 0 {
		return "", &refusal{status: http.StatusUnauthorized}
	}
	scheme, text, _ := strings.Cut(given[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", &refusal{status: http.StatusUnauthorized}
	}
	if text = strings.Trim(text, " "); !isToken68(text) {
		return "", malformed
	}
	return text, nil
}

// isToken68 reports whether a text has the syntax of a token68 (RFC 9110
// §11.2).
func isToken68(text string) bool {
	text = strings.TrimRight(text, "=")
	for i := range len(text) {
		c := text[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~+/", c) >= 0) {
			return false
		}
	}
	return text != ""
}

type tokenKey struct{}

// ContextWithToken returns a context that carries a token for
// [TokenFromContext]. [Middleware.Require] uses it; tests of handlers may too.
func ContextWithToken(ctx context.Context, t *Token) context.Context {
	return context.WithValue(ctx, tokenKey{}, t)
}

// TokenFromContext returns the verified access token of a request, or nil if
// the request did not pass [Middleware.Require]. Issuer and Subject together
// identify the user.
func TokenFromContext(ctx context.Context) *Token {
	t, _ := ctx.Value(tokenKey{}).(*Token)
	return t
}
