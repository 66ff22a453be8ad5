package resource_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/latchkey/latchkey/sdk/go/resource"
)

func TestTheMetadataNamesTheIssuer(t *testing.T) {
	for _, c := range []struct{ url, path string }{
		{"https://api.example.com", "/.well-known/oauth-protected-resource"},
		{"https://api.example.com/", "/.well-known/oauth-protected-resource"},
		{resourceURL, "/.well-known/oauth-protected-resource/v1"},
		{"https://api.example.com/v1/", "/.well-known/oauth-protected-resource/v1/"},
	} {
		issuer, api := newMiddleware(t, resource.MiddlewareOptions{URL: c.url, Scopes: []string{"orders:read"}})
		if got := api.MetadataPath(); got != c.path {
			t.Errorf("%s: the path is %s", c.url, got)
		}
		mux := http.NewServeMux()
		mux.Handle(api.MetadataPath(), api.MetadataHandler())
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
		want := fmt.Sprintf(`{"resource":%q,"authorization_servers":[%q],"scopes_supported":["orders:read"],"bearer_methods_supported":["header"]}`, c.url, issuer.URL)
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" || w.Body.String() != want {
			t.Errorf("%s: %d %s %s", c.url, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
		w = httptest.NewRecorder()
		api.MetadataHandler().ServeHTTP(w, httptest.NewRequest("POST", c.path, nil))
		if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: POST yields %d", c.url, w.Code)
		}
	}
}

// The document is at the root of the host, not below the resource (RFC 9728
// §3.1).
func TestMetadataIsNotBelowTheResource(t *testing.T) {
	_, api := newMiddleware(t, resource.MiddlewareOptions{URL: resourceURL})
	w := httptest.NewRecorder()
	api.MetadataHandler().ServeHTTP(w, httptest.NewRequest("GET", "/v1/.well-known/oauth-protected-resource", nil))
	if w.Code != 404 {
		t.Errorf("status %d", w.Code)
	}
}

func TestEmptyMetadataMembersAreOmitted(t *testing.T) {
	issuer, api := newMiddleware(t, resource.MiddlewareOptions{URL: resourceURL})
	w := httptest.NewRecorder()
	api.MetadataHandler().ServeHTTP(w, httptest.NewRequest("GET", api.MetadataPath(), nil))
	if want := fmt.Sprintf(`{"resource":%q,"authorization_servers":[%q],"bearer_methods_supported":["header"]}`, resourceURL, issuer.URL); w.Body.String() != want {
		t.Errorf("the document is %s", w.Body)
	}
}

func TestWithoutAURLThereIsNoMetadata(t *testing.T) {
	_, api := newMiddleware(t, resource.MiddlewareOptions{})
	w := httptest.NewRecorder()
	api.MetadataHandler().ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/oauth-protected-resource", nil))
	if got := challengeOf(t, call(api.Require()(greet), "/")); w.Code != 404 || api.MetadataPath() != "" || got["resource_metadata"] != "" {
		t.Errorf("status %d, path %q, challenge %q", w.Code, api.MetadataPath(), got)
	}
}

// A document names its resource: that of another one must not lead a client to
// the other's authorization server.
func TestDiscoveredMetadataMustNameTheCalledResource(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	says := map[string]string{
		"":         server.URL,
		"/v1":      server.URL + "/v1",
		"/v1/deep": server.URL + "/v1",
		"/v10":     server.URL + "/v1",
		"/wrong":   "https://api.example.com/wrong",
		"/other":   server.URL + "/else",
		"/up":      server.URL + "/up/more",
	}
	for path, named := range says {
		mux.HandleFunc("GET /.well-known/oauth-protected-resource"+path, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"resource":%q,"authorization_servers":["https://id.example.com"]}`, named)
		})
	}
	for _, c := range []struct {
		called, location string
		within, ok       bool
	}{
		{"/v1", "", false, true},
		{"/v1?page=2", "", false, true},
		{"", "", false, true},
		{"/v1", "/.well-known/oauth-protected-resource/v1", false, true},
		{"/v1/deep", "", false, false},
		{"/v1/deep", "", true, true},
		{"/v1/deep", "/.well-known/oauth-protected-resource", true, true},
		{"/v1/deep", "/.well-known/oauth-protected-resource", false, false},
		{"/v10", "", true, false},
		{"/wrong", "", true, false},
		{"/other", "", true, false},
		{"/up", "", true, false},
		{"/none", "", true, false},
		{"/v1/../other", "", true, false},
	} {
		location := c.location
		if location != "" {
			location = server.URL + location
		}
		got, err := resource.DiscoverMetadata(t.Context(), nil, server.URL+c.called, location, c.within)
		if (err == nil) != c.ok || c.ok && got.AuthorizationServers[0] != "https://id.example.com" {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"resource":%q,"authorization_servers":["https://evil.example.com"]}`, server.URL+"/v1")
	}))
	t.Cleanup(elsewhere.Close)
	if _, err := resource.DiscoverMetadata(t.Context(), nil, server.URL+"/v1", elsewhere.URL+"/.well-known/oauth-protected-resource/v1", true); err == nil {
		t.Error("a document on another host is accepted")
	}
}
