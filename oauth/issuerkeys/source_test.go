package issuerkeys

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/oauth/fetch"
	"github.com/latchkey/latchkey/settings"
)

// The limits of R-JK-13 and R-JK-14 in docs/conformance.md. Other tests refer to
// them by their names.
func TestLimitsOfFetches(t *testing.T) {
	for private, client := range New(Config{}).clients {
		if client.Timeout != 5*time.Second {
			t.Errorf("private addresses %t: the timeout of a fetch is %v", private, client.Timeout)
		}
	}
	if got := fmt.Sprint(fetch.DefaultMaxBody, maxKeys, refetchPause); got != "524288 100 30s" {
		t.Error(got)
	}
}

func TestRemoteKeysRejectBadResponsesWithAShortError(t *testing.T) {
	var origin string
	page := strings.Repeat("<p>not found</p>", 10_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		issuer, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if rest != ".well-known/openid-configuration" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		switch iss := origin + "/" + issuer; issuer {
		case "page":
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, page)
		case "html":
			fmt.Fprint(w, page)
		case "another":
			fmt.Fprintf(w, `{"issuer":"https://elsewhere.example.com","jwks_uri":"%s/keys"}`, iss)
		case "keyless":
			fmt.Fprintf(w, `{"issuer":"%s"}`, iss)
		case "file":
			fmt.Fprintf(w, `{"issuer":"%s","jwks_uri":"file:///etc/passwd"}`, iss)
		case "missing":
			fmt.Fprintf(w, `{"issuer":"%s","jwks_uri":"%s/nothing"}`, iss, iss)
		}
	}))
	t.Cleanup(server.Close)
	origin = server.URL
	sources := New(Config{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	for _, name := range []string{"page", "html", "another", "keyless", "file", "missing"} {
		source, err := sources.Source(settings.IssuerSettings{Issuer: origin + "/" + name, Keys: settings.IssuerKeys{Discovery: true}, AllowPrivateAddresses: true})
		if err != nil {
			t.Fatal(err)
		}
		_, err = source.Keys(t.Context(), kid("a"))
		want := ErrUnavailable
		if name == "another" || name == "keyless" {
			want = ErrMisconfigured
		}
		if !errors.Is(err, want) || errors.Is(err, ErrUnavailable) != (want == ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		} else if len(err.Error()) > 500 {
			t.Errorf("%s: the error contains %d bytes of the response", name, len(err.Error()))
		}
	}
}

func TestSourcesAreSharedOnlyByEqualEntries(t *testing.T) {
	sources := New(Config{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	of := func(issuer, uri string, private bool) Source {
		s, err := sources.Source(settings.IssuerSettings{Issuer: issuer, Keys: settings.IssuerKeys{JWKSURI: uri, Discovery: uri == ""}, AllowPrivateAddresses: private})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := of("https://a", "", false)
	if of("https://a", "", false) != first {
		t.Error("fetched keys are lost with every change of the configuration")
	}
	for name, other := range map[string]Source{
		"another issuer":                          of("https://b", "", false),
		"another address of keys":                 of("https://a", "https://a/keys", false),
		"an entry that may use private addresses": of("https://a", "", true),
	} {
		if other == first {
			t.Errorf("%s: its keys are shared", name)
		}
	}
}

func TestWithoutURLRemovesTheURL(t *testing.T) {
	err := &url.Error{Op: "Get", URL: "https://auth.example.com/keys?token=secret", Err: errors.New("connection refused")}
	if got := withoutURL(err).Error(); got != "connection refused" {
		t.Errorf("error %q", got)
	}
}
