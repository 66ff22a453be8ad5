package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

// Document is a public document with its entity tag (RFC 9110 §8.8.3).
type Document struct {
	Body []byte
	ETag string
}

// Unchanged reports whether an If-None-Match header names the document.
func (d *Document) Unchanged(field string) bool { return namesETag(field, d.ETag) }

// namesETag reports whether an If-None-Match header names an entity tag (RFC
// 9110 §13.1.2).
func namesETag(field, etag string) bool {
	for _, item := range strings.Split(field, ",") {
		if item = strings.TrimPrefix(strings.TrimSpace(item), "W/"); item == etag || item == "*" {
			return true
		}
	}
	return false
}

// PublicMaxAge is how long a public document may be cached.
const PublicMaxAge = keys.JWKSMaxAge

// newDocument returns the JSON document of v.
func newDocument(v any) (*Document, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return &Document{Body: body, ETag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}, nil
}

// metadata is the authorization server metadata of a tenant (RFC 8414 §2,
// OpenID Connect Discovery 1.0 §3). Members for features that are not offered
// are left out, except where the default value would announce one.
type metadata struct {
	Issuer                       string   `json:"issuer"`
	TokenEndpoint                string   `json:"token_endpoint"`
	RevocationEndpoint           string   `json:"revocation_endpoint"`
	IntrospectionEndpoint        string   `json:"introspection_endpoint"`
	UserInfoEndpoint             string   `json:"userinfo_endpoint"`
	GlobalRevocationEndpoint     string   `json:"global_token_revocation_endpoint,omitempty"` // draft-parecki-oauth-global-token-revocation
	JWKSURI                      string   `json:"jwks_uri"`
	ResponseTypes                []string `json:"response_types_supported"`
	GrantTypes                   []string `json:"grant_types_supported"`
	SubjectTypes                 []string `json:"subject_types_supported"`
	IDTokenSigningAlgs           []string `json:"id_token_signing_alg_values_supported"`
	TokenEndpointAuth            []string `json:"token_endpoint_auth_methods_supported"`
	RevocationEndpointAuth       []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionEndpointAuth    []string `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectionSigningAlgs     []string `json:"introspection_signing_alg_values_supported"` // RFC 9701 §7
	ACRValues                    []string `json:"acr_values_supported"`                       // RFC 9470 §7
	ScopesSupported              []string `json:"scopes_supported,omitempty"`
	RequestParameterSupported    bool     `json:"request_parameter_supported"`
	RequestURIParameterSupported bool     `json:"request_uri_parameter_supported"`
	ClaimsParameterSupported     bool     `json:"claims_parameter_supported"`
}

// Metadata returns the tenant's metadata document, which is the same at every
// URL.
func (t *Tenant) Metadata() (*Document, error) { return t.metadata() }

// buildMetadata builds the metadata document. It changes only with the
// configuration.
func (t *Tenant) buildMetadata() (*Document, error) {
	methods := []string{"none", "client_secret_basic", "client_secret_post"}
	algorithms := []string{"RS256"} // must be listed (Discovery §3)
	if alg := string(keys.JOSEAlgorithm(t.row.SigningAlgorithm)); alg != "RS256" {
		algorithms = append(algorithms, alg)
	}
	var scopes []string
	for _, c := range t.clients {
		if c.Enabled() && c.Settings.HasGrant(settings.GrantTokenExchange) { // scopes that apps may request; those of machines are not announced
			scopes = append(scopes, c.Settings.Scopes...)
		}
	}
	slices.Sort(scopes)
	globalRevocationEndpoint := ""
	if t.allowsUpstream(globalRevocation) {
		globalRevocationEndpoint = t.Issuer + settings.GlobalRevocationPath
	}
	return newDocument(metadata{
		Issuer: t.Issuer, TokenEndpoint: t.Issuer + "/token", RevocationEndpoint: t.Issuer + "/revoke",
		IntrospectionEndpoint: t.Issuer + "/introspect", UserInfoEndpoint: t.Issuer + "/userinfo",
		GlobalRevocationEndpoint: globalRevocationEndpoint, JWKSURI: t.Issuer + "/.well-known/jwks.json",
		ResponseTypes: []string{}, GrantTypes: grantTypes, SubjectTypes: []string{"public"}, IDTokenSigningAlgs: algorithms,
		TokenEndpointAuth: methods, RevocationEndpointAuth: methods, IntrospectionEndpointAuth: methods[1:],
		IntrospectionSigningAlgs: algorithms[len(algorithms)-1:], ACRValues: t.classes().Values(), ScopesSupported: slices.Compact(scopes),
	})
}

// published is the key set at one point in time.
type published struct {
	document *Document
	until    time.Time
}

// publishedFor is how long one rendering of the key set is served, because the
// states of keys change with time alone.
const publishedFor = 5 * time.Second

// JWKS returns the tenant's key set (RFC 7517 §5).
func (s *Server) JWKS(t *Tenant) (*Document, error) {
	now := s.now()
	if p := t.published.Load(); p != nil && now.Before(p.until) {
		return p.document, nil
	}
	if _, err := t.ring.Active(now); err != nil {
		return nil, err // a set without the active key would make verifiers drop it
	}
	document, err := newDocument(t.ring.JWKS(now))
	if err != nil {
		return nil, err
	}
	t.published.Store(&published{document, now.Add(publishedFor)})
	return document, nil
}
