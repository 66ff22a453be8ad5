package resource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// wellKnownResource is where a host tells of its resources (RFC 9728 §3).
const wellKnownResource = "/.well-known/oauth-protected-resource"

// Metadata tells clients which authorization servers a resource trusts
// (RFC 9728 §2).
type Metadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	Scopes               []string `json:"scopes_supported,omitempty"`
	BearerMethods        []string `json:"bearer_methods_supported,omitempty"`
}

// metadataDocument is metadata that is ready to be served.
type metadataDocument struct {
	location string // URL of the document
	path     string // of it
	text     []byte
}

func newMetadataDocument(resource, issuer string, scopes []string) (*metadataDocument, error) {
	location, err := metadataLocation(resource)
	if err != nil {
		return nil, err
	}
	for _, scope := range scopes {
		if !isScopeToken(scope) {
			return nil, fmt.Errorf("latchkey: %q is not a scope", scope)
		}
	}
	text, err := json.Marshal(Metadata{resource, []string{issuer}, scopes, []string{"header"}})
	if err != nil {
		return nil, err
	}
	return &metadataDocument{location: location.String(), path: location.Path, text: text}, nil
}

// metadataLocation puts the well-known path between host and path of a resource
// (RFC 9728 §3.1).
func metadataLocation(resource string) (*url.URL, error) {
	u, err := url.Parse(resource)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(resource, "#"):
		return nil, fmt.Errorf("latchkey: the resource %q is no URL without query and fragment", resource)
	case !wire.IsSecure(u):
		return nil, fmt.Errorf("latchkey: the resource %q is not https", resource)
	case u.RawPath != "" || !isQuotable(resource) || path.Join("/", u.Path) != "/"+strings.Trim(u.Path, "/"):
		return nil, fmt.Errorf("latchkey: the path of the resource %q has to be plain", resource)
	}
	if u.Path == "/" {
		u.Path = ""
	}
	u.Path = wellKnownResource + u.Path
	return u, nil
}

// MetadataPath is where [Middleware.MetadataHandler] belongs in the host's router; empty
// without a URL.
func (m *Middleware) MetadataPath() string {
	if m.metadata == nil {
		return ""
	}
	return m.metadata.path
}

// MetadataHandler serves the resource's metadata, to anybody and to scripts of any
// origin; 404 without a URL (RFC 9728 §3.2).
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

// DiscoverMetadata fetches the metadata of the resource at a URL that answered
// 401, from where its challenge says or, if that is empty, from the well-known
// place. The URL's query does not count. It refuses a document that names another resource than the URL that
// was called (RFC 9728 §3.3); with withinPrefix it may name one of the same
// origin whose path is a prefix, as a resource with many URLs does. client may
// be nil.
func DiscoverMetadata(ctx context.Context, client *http.Client, called, location string, withinPrefix bool) (*Metadata, error) {
	called, _, _ = strings.Cut(called, "?")
	wellKnown, err := metadataLocation(called)
	if err != nil {
		return nil, err
	}
	if location == "" {
		location = wellKnown.String()
	}
	at, err := url.Parse(location)
	if err != nil || at.Host != wellKnown.Host || at.Scheme != wellKnown.Scheme {
		return nil, errors.New("latchkey: the metadata of the resource is not on its own host")
	}
	var m Metadata
	if err := wire.GetJSON(ctx, wire.NoRedirects(client), location, &m); err != nil {
		return nil, err
	}
	if m.Resource != called && !(withinPrefix && covers(m.Resource, called)) {
		return nil, errors.New("latchkey: the metadata is of another resource than the one that was called")
	}
	return &m, nil
}

// covers says whether a resource is of the origin of a URL and its path a whole
// prefix of that of the URL.
func covers(resource, called string) bool {
	if _, err := metadataLocation(resource); err != nil {
		return false
	}
	rest, ok := strings.CutPrefix(called, resource)
	return ok && (strings.HasSuffix(resource, "/") || strings.HasPrefix(rest, "/"))
}
