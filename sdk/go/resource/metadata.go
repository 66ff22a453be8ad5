package resource

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// wellKnownResource is where a host publishes the metadata of its resources
// (RFC 9728 §3).
const wellKnownResource = "/.well-known/oauth-protected-resource"

// Metadata is the metadata of a protected resource: which authorization servers
// it trusts (RFC 9728 §2).
type Metadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	Scopes               []string `json:"scopes_supported,omitempty"`
	BearerMethods        []string `json:"bearer_methods_supported,omitempty"`
}

// metadataDocument is metadata that is ready to be served.
type metadataDocument struct {
	location string // URL of the document
	path     string // path of that URL
	text     []byte
}

func newMetadataDocument(resource, issuer string, scopes []string) (*metadataDocument, error) {
	location, err := metadataLocation(resource)
	if err != nil {
		return nil, err
	}
	for _, scope := range scopes {
		if !isScopeToken(scope) {
			return nil, fmt.Errorf("resource: invalid scope %q: expected printable ASCII without spaces, quotes and backslashes", scope)
		}
	}
	text, err := json.Marshal(Metadata{resource, []string{issuer}, scopes, []string{"header"}})
	if err != nil {
		return nil, err
	}
	return &metadataDocument{location: location.String(), path: location.Path, text: text}, nil
}

// metadataLocation inserts the well-known path between host and path of a
// resource's URL (RFC 9728 §3.1).
func metadataLocation(resource string) (*url.URL, error) {
	u, err := url.Parse(resource)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(resource, "#"):
		return nil, fmt.Errorf("resource: invalid URL %q: expected an absolute URL without user, query and fragment", resource)
	case !wire.IsSecure(u):
		return nil, fmt.Errorf("resource: invalid URL %q: expected https (http is allowed on loopback only)", resource)
	case u.RawPath != "" || !isQuotable(resource) || path.Join("/", u.Path) != "/"+strings.Trim(u.Path, "/"):
		return nil, fmt.Errorf("resource: invalid URL %q: the path must have no percent-encoding, dot segments and double slashes", resource)
	}
	if u.Path == "/" {
		u.Path = ""
	}
	u.Path = wellKnownResource + u.Path
	return u, nil
}

// MetadataPath returns the path at which to serve [Middleware.MetadataHandler],
// at the root of the host. It is empty without a URL.
func (m *Middleware) MetadataPath() string {
	if m.metadata == nil {
		return ""
	}
	return m.metadata.path
}

// MetadataHandler returns a handler that serves the resource's metadata to
// anyone, including scripts of any origin (RFC 9728 §3.2). Without a URL it
// answers 404.
func (m *Middleware) MetadataHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if m.metadata == nil || req.URL.Path != m.metadata.path {
			http.NotFound(w, req)
			return
		}
		h := w.Header()
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "public, max-age=3600")
		h.Set("Access-Control-Allow-Origin", "*")
		w.Write(m.metadata.text)
	})
}

// DiscoverMetadata fetches the metadata of the resource at resourceURL, which
// answered 401. metadataURL is the resource_metadata of its challenge; if it is
// empty, the well-known location is used. The query of resourceURL is ignored.
//
// The document must name resourceURL as its resource (RFC 9728 §3.3). With
// allowPrefix it may also name a URL of the same origin whose path is a prefix,
// as resources with many URLs do. client may be nil.
func DiscoverMetadata(ctx context.Context, client *http.Client, resourceURL, metadataURL string, allowPrefix bool) (*Metadata, error) {
	resourceURL, _, _ = strings.Cut(resourceURL, "?")
	wellKnown, err := metadataLocation(resourceURL)
	if err != nil {
		return nil, err
	}
	if metadataURL == "" {
		metadataURL = wellKnown.String()
	}
	at, err := url.Parse(metadataURL)
	if err != nil || at.Host != wellKnown.Host || at.Scheme != wellKnown.Scheme {
		return nil, fmt.Errorf("resource: invalid metadata URL %q: expected the host of the resource", metadataURL)
	}
	var m Metadata
	if err := wire.GetJSON(ctx, wire.NoRedirects(client), metadataURL, &m); err != nil {
		return nil, err
	}
	if m.Resource != resourceURL && !(allowPrefix && covers(m.Resource, resourceURL)) {
		return nil, fmt.Errorf("resource: the metadata names the resource %q, expected %q", m.Resource, resourceURL)
	}
	return &m, nil
}

// covers reports whether a resource has the origin of a target URL, and a path
// that is a prefix of the target's path, in whole segments.
func covers(resource, target string) bool {
	if _, err := metadataLocation(resource); err != nil {
		return false
	}
	rest, ok := strings.CutPrefix(target, resource)
	return ok && (strings.HasSuffix(resource, "/") || strings.HasPrefix(rest, "/"))
}
