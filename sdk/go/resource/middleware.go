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

// MiddlewareOptions describe a resource server; the zero value is fine.
type MiddlewareOptions struct {
	// URL is the resource's own identifier, which its clients call: https (http
	// is for loopback), without a query or a fragment. With it the resource can
	// serve its metadata, and its challenges name the document (RFC 9728).
	URL string
	// Scopes are all that the metadata tells of.
	Scopes []string
	// Realm of the challenges, printable ASCII without quotes and backslashes;
	// default "api".
	Realm string
	// Logger is told why requests are refused, without a word of their tokens;
	// default slog.Default().
	Logger *slog.Logger
}

// NewMiddleware protects handlers with a verifier. It refuses a URL, a realm or a
// scope that cannot be told in a challenge.
func NewMiddleware(v *Verifier, o MiddlewareOptions) (*Middleware, error) {
	if v == nil {
		return nil, errors.New("latchkey: a resource needs a verifier")
	}
	m := &Middleware{verifier: v, realm: o.Realm, log: o.Logger}
	if m.realm == "" {
		m.realm = "api"
	}
	if m.log == nil {
		m.log = slog.Default()
	}
	if !isQuotable(m.realm) {
		return nil, fmt.Errorf("latchkey: a challenge cannot name the realm %q", m.realm)
	}
	if o.URL != "" {
		var err error
		if m.metadata, err = newMetadataDocument(o.URL, v.keys.URL, o.Scopes); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Require makes middleware that lets through requests whose access token is
// valid and meets the requirements; the handler finds it by [TokenFromContext]. Others
// are answered: 401 with a challenge, 403 if a scope is missing, 400 if the
// credentials are malformed, 503 if nothing can be said about the token.
// Preflight requests of browsers carry no token: answer them before.
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

// Check is [Middleware.Require] for frameworks with middleware of another shape,
// such as gin and echo: ok is false when the request has been answered,
// otherwise the request that is returned carries the token.
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

// decide says what is wrong with a request. A token is verified before anything
// is said about what it lacks (RFC 9470 §3).
func (m *Middleware) decide(req *http.Request, need requirements) (*Token, *refusal) {
	text, refused := bearerToken(req)
	if refused != nil {
		return nil, refused
	}
	token, err := m.verifier.Verify(req.Context(), text)
	switch {
	case errors.Is(err, latchkey.ErrInvalidToken):
		m.log.DebugContext(req.Context(), "access token refused", "error", err)
		return nil, &refusal{status: http.StatusUnauthorized, code: "invalid_token", description: "The access token is expired, revoked or not meant for this resource"}
	case err != nil: // also what nobody foresaw: it says nothing about the token
		m.log.DebugContext(req.Context(), "access token not verified", "error", err) // the verifier says it once, and louder
		return nil, &refusal{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", description: "Access tokens cannot be verified at the moment"}
	case need.lacksScope(token):
		return nil, &refusal{http.StatusForbidden, "insufficient_scope", "The access token lacks a scope", []param{{"scope", strings.Join(need.scopes, " ")}}}
	case need.lacksAuthentication(token, m.verifier.options.Now(), m.verifier.options.Tolerance):
		return nil, &refusal{http.StatusUnauthorized, "insufficient_user_authentication", "The user has to prove more, or anew", need.params()}
	}
	return token, nil
}

// commonParams are the parameters of every challenge.
func (m *Middleware) commonParams() []param {
	list := []param{{"realm", m.realm}}
	if m.metadata != nil {
		list = append(list, param{"resource_metadata", m.metadata.location})
	}
	return list
}

// bearerToken reads the token of a request, from its one Authorization header and
// nowhere else (RFC 6750 §2.1; RFC 9700 §4.3.2).
func bearerToken(req *http.Request) (string, *refusal) {
	given := req.Header.Values("Authorization")
	malformed := &refusal{status: http.StatusBadRequest, code: "invalid_request", description: "The Authorization header is malformed"}
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

// isToken68 says whether a text has the form of a token (RFC 9110 §11.2).
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

// ContextWithToken puts a token where [TokenFromContext] finds it; [Middleware.Require] does,
// and so may tests of handlers.
func ContextWithToken(ctx context.Context, t *Token) context.Context {
	return context.WithValue(ctx, tokenKey{}, t)
}

// TokenFromContext is the verified access token of a request; nil: the request did
// not pass [Middleware.Require]. A user is named by Issuer and Subject together.
func TokenFromContext(ctx context.Context) *Token {
	t, _ := ctx.Value(tokenKey{}).(*Token)
	return t
}
