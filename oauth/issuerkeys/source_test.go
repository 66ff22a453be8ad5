package issuerkeys

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
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

// The address may be a private one, and the URL may have a password in its query.
func TestErrorsQuoteNothingThatTheIssuerSent(t *testing.T) {
	const sent, password = "SSH-2.0-secret_banner", "password-in-a-query"
	raw := func(answer string) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					conn.SetDeadline(time.Now().Add(5 * time.Second))
					conn.Read(make([]byte, 4096))
					fmt.Fprint(conn, answer)
				}()
			}
		}()
		return "http://" + listener.Addr().String()
	}
	http := func(status, body string) string {
		return raw(fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body))
	}
	closed := raw("")
	sources := New(Config{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	for name, c := range map[string]struct{ origin, discovery, keys string }{
		"another protocol":              {raw(sent + "\r\n"), "discovery: the issuer sent no valid HTTP response", "the issuer sent no valid HTTP response"},
		"a status":                      {http("500 "+sent, sent), "discovery returned status 500", "jwks_uri returned status 500"},
		"what is not JSON":              {http("200 OK", sent), "discovery returned no valid document", "not a JSON Web Key Set"},
		"JSON of another kind":          {http("200 OK", `["`+sent+`"]`), "discovery returned no valid document", "not a JSON Web Key Set"},
		"more than is read":             {http("200 OK", strings.Repeat(sent, 30_000)), "discovery: the issuer sent a response that is too long", "the issuer sent a response that is too long"},
		"nothing":                       {closed, "discovery: the connection to the issuer broke", "the connection to the issuer broke"},
		"a header that is not a header": {raw("HTTP/1.1 200 OK\r\n" + sent + "\r\n\r\n"), "discovery: the issuer sent no valid HTTP response", "the issuer sent no valid HTTP response"},
	} {
		for _, entry := range []settings.IssuerSettings{
			{Issuer: c.origin, Keys: settings.IssuerKeys{Discovery: true}, AllowPrivateAddresses: true},
			{Issuer: c.origin, Keys: settings.IssuerKeys{JWKSURI: c.origin + "/keys?token=" + password}, AllowPrivateAddresses: true},
		} {
			want := c.keys
			if entry.Keys.Discovery {
				want = c.discovery
			}
			source, err := sources.Source(entry)
			if err != nil {
				t.Fatal(err)
			}
			_, err = source.Keys(t.Context(), kid("a"))
			if err == nil || err.Error() != "the issuer's keys cannot be fetched: "+want || strings.Contains(err.Error(), "secret_banner") || strings.Contains(err.Error(), password) {
				t.Errorf("%s, %+v: %v, want %s", name, entry.Keys, err, want)
			}
		}
	}
}
