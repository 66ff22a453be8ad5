package wire

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestAnUnchangedKeyIsRecognizedAfterARefresh(t *testing.T) {
	now, fetches := time.Unix(1790000000, 0), 0
	var url string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			fetches++
			fmt.Fprint(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`)
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"%s/keys"}`, url, url)
	}))
	defer server.Close()
	url = server.URL
	d, err := NewIssuer(url, nil, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	source := NewKeySource(d)
	first, err := source.Key(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(10 * time.Minute)
	if held, err := source.StillPublishes(t.Context(), first, now); !held || err != nil || fetches != 2 {
		t.Errorf("held: %t, %v, after %d fetches", held, err, fetches)
	}
}

func TestKeysAreCachedAsLongAsTheIssuerAllows(t *testing.T) {
	for says, want := range map[string]time.Duration{
		"":                                5 * time.Minute,
		"no-store":                        5 * time.Minute,
		"public, max-age=600":             10 * time.Minute,
		`Max-Age="600"`:                   10 * time.Minute,
		"s-maxage=60":                     5 * time.Minute,
		"max-age=0":                       30 * time.Second,
		"max-age=86400":                   time.Hour,
		"max-age=-1":                      5 * time.Minute,
		"max-age=99999999999999999999999": 5 * time.Minute,
	} {
		if got := keyLife(http.Header{"Cache-Control": {says}}); got != want {
			t.Errorf("%q: %s, want %s", says, got, want)
		}
	}
}
