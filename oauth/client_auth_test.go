package oauth

import (
	"context"
	"encoding/base64"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

func basic(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }

func TestReadBasic(t *testing.T) {
	for _, row := range []struct {
		name, header string
		want         *credentials // nil: rejected
	}{
		{"accepts id and secret", basic("web:secret"), &credentials{id: "web", secret: "secret"}},
		{"accepts the scheme in any case", "bAsIc " + basic("web:secret")[6:], &credentials{id: "web", secret: "secret"}},
		{"splits at the first colon", basic("web:a:b:"), &credentials{id: "web", secret: "a:b:"}},
		{"decodes both halves after the split", basic("a%3Ab:c%3Ad%25"), &credentials{id: "a:b", secret: "c:d%", raw: "c%3Ad%25"}},
		{"decodes a plus as a space", basic("a+b:c+d"), &credentials{id: "a b", secret: "c d", raw: "c+d"}},
		{"decodes an encoded plus as a plus", basic("web:c%2Bd"), &credentials{id: "web", secret: "c+d", raw: "c%2Bd"}},
		{"accepts UTF-8", basic("web:%C3%A9é"), &credentials{id: "web", secret: "éé", raw: "%C3%A9é"}},
		{"accepts an empty secret, which never matches", basic("web:"), &credentials{id: "web", secret: ""}},
		{"keeps characters that need no encoding", basic("a-z._~:A-Z._~"), &credentials{id: "a-z._~", secret: "A-Z._~"}},

		{"rejects Bearer", "Bearer abc", nil},
		{"rejects a longer scheme", "Basically " + basic("web:secret")[6:], nil},
		{"rejects the scheme alone", "Basic", nil},
		{"rejects an empty header", "", nil},
		{"rejects bad base64", "Basic !!!!", nil},
		{"rejects base64 that is cut off", "Basic d2ViOnNlY3Jld", nil},
		{"rejects the raw pair", "Basic web:secret", nil},
		{"rejects a pair without a colon", basic("websecret"), nil},
		{"keeps a secret that is not form-encoded", basic("web:100%+x"), &credentials{id: "web", secret: "100%+x"}},
		{"rejects an id that is not form-encoded", basic("w%eb:secret"), nil},
		{"rejects invalid UTF-8", basic("web:\xff"), nil},
		{"rejects encoded invalid UTF-8", basic("web:%FF"), nil},
		{"rejects NUL", basic("web%00:secret"), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := readBasic(row.header)
			if (err == nil) != (row.want != nil) || row.want != nil && got != *row.want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestReadCredentialsAcceptsOneMethod(t *testing.T) {
	for _, row := range []struct {
		name    string
		headers []string
		form    url.Values
		want    string // code of the refusal
		id      string
	}{
		{"Basic", []string{basic("web:s")}, url.Values{}, "", "web"},
		{"Basic with the same client_id in the body", []string{basic("web:s")}, url.Values{"client_id": {"web"}}, "", "web"},
		{"post", nil, url.Values{"client_id": {"web"}, "client_secret": {"s"}}, "", "web"},
		{"an id alone", nil, url.Values{"client_id": {"web"}}, "", "web"},
		{"nothing", nil, url.Values{}, "401 invalid_client", ""},
		{"a secret without an id", nil, url.Values{"client_secret": {"s"}}, "401 invalid_client", ""},
		{"another scheme beside an id", []string{"Bearer x"}, url.Values{"client_id": {"web"}}, "401 invalid_client", ""},
		{"an assertion", nil, url.Values{"client_id": {"web"}, "client_assertion": {"x"}}, "401 invalid_client", ""},
		{"the type of an assertion", nil, url.Values{"client_id": {"web"}, "client_assertion_type": {"x"}}, "401 invalid_client", ""},
		{"Basic and a secret in the body", []string{basic("web:s")}, url.Values{"client_secret": {"s"}}, "400 invalid_request", ""},
		{"Basic and another client_id in the body", []string{basic("web:s")}, url.Values{"client_id": {"ios"}}, "400 invalid_request", ""},
		{"two headers", []string{basic("web:s"), basic("web:s")}, url.Values{}, "400 invalid_request", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/token", nil)
			r.Header["Authorization"] = row.headers
			c, err := readCredentials(r, row.form)
			if refusal(err) != row.want || c.id != row.id {
				t.Errorf("%q, %v", c.id, err)
			}
		})
	}
}

func TestAnUnknownClientTakesAsMuchWorkAsAWrongSecret(t *testing.T) {
	store, err := models.Open(context.Background(), "sqlite:"+filepath.Join(t.TempDir(), "db"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	k := keysOf(t, rootA)
	s := New(Config{Store: store, Keys: k})
	client := clientWith(settings.ClientSettings{Auth: settings.AuthSecret})
	client.SecretDigest = k.DigestClientSecret("default", "web", "the right secret")
	tenant := &Tenant{ID: "default", clients: map[string]*Client{"web": client}}
	work := func(id string) uint64 {
		r := httptest.NewRequest("POST", "/token", nil)
		r.SetBasicAuth(id, "a wrong secret")
		return allocated(func() {
			if _, err := s.authenticateClient(t.Context(), &Call{Tenant: tenant}, r, url.Values{}); refusal(err) != "401 invalid_client" {
				t.Error(err)
			}
		})
	}
	// The test compares the allocated memory, because a busy machine distorts the time;
	// without the digest it would be a third.
	if known, unknown := work("web"), work("ios"); 2*unknown < known || unknown > 2*known {
		t.Errorf("%d bytes for an unknown client, %d for a known client", unknown, known)
	}
}

func TestASecretMatchesWithOrWithoutFormEncoding(t *testing.T) {
	const secret = "a+b%2Fc%d/e:f g-0123456789012345"
	k := keysOf(t, rootA)
	s := &Server{keys: k}
	client := clientWith(settings.ClientSettings{Auth: settings.AuthSecret})
	client.SecretDigest = k.DigestClientSecret(client.TenantID, client.ID, secret)
	for name, row := range map[string]struct {
		sent string
		want bool
	}{
		"form-encoded":              {url.QueryEscape(secret), true},
		"without encoding":          {secret, true},
		"percent-encoded, with %20": {url.PathEscape(secret), false}, // a plus stays a plus there, which means a space
		"encoded twice":             {url.QueryEscape(url.QueryEscape(secret)), false},
		"without encoding, with an additional character": {secret + "x", false},
		"empty": {"", false},
	} {
		c, err := readBasic(basic(client.ID + ":" + row.sent))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.secretMatches(client, &c); got != row.want || got && c.secret != secret {
			t.Errorf("%s: matches %t, with the secret %q", name, got, c.secret)
		}
	}
}
