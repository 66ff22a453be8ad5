package testwire

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

func TestAMisconfiguredIssuerIsAServerErrorAndIsLoggedOnce(t *testing.T) {
	for _, c := range []struct {
		name          string
		document, set string // {} is replaced by the issuer's URL
		logged        []string
	}{
		{"its discovery document names another issuer", `{"issuer":"{}/","jwks_uri":"{}/keys"}`, "",
			[]string{"does not match the configuration", `"expected":"\"{}\""`, `"received":"\"{}/\""`}},
		{"its discovery document has no jwks_uri", `{"issuer":"{}"}`, "", []string{"has no jwks_uri"}},
		{"its key set has no usable key", `{"issuer":"{}","jwks_uri":"{}/keys"}`, `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, []string{"has no usable key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, p := testserver.NewExchanger(t, testdb.SQLite(t)), &testserver.Provider{}
			provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				text := c.document
				if r.URL.Path == "/keys" {
					text = c.set
				}
				fmt.Fprint(w, strings.ReplaceAll(text, "{}", "http://"+r.Host))
			}))
			defer provider.Close()
			p.URL = provider.URL
			d.Reconfigure(testserver.Trusting(p.Entry(settings.IssuerKeys{Discovery: true})))
			es := testserver.Signers()[2]
			before := d.Written()
			for range 3 {
				for range 2 { // the second one does not fetch again
					a := d.Present(testserver.TypeJWT, p.Token(d, es, es.Algorithm, nil))
					if a.Status != 500 || a.Error() != "server_error" || !strings.Contains(string(a.Body), `"latchkey_reason":"issuer_misconfigured"`) || a.Header.Get("Retry-After") != "" {
						t.Errorf("status %d %s, Retry-After %q", a.Status, a.Body, a.Header.Get("Retry-After"))
					}
					if strings.Contains(string(a.Body), provider.URL) {
						t.Errorf("the response reveals the address of the issuer: %s", a.Body)
					}
				}
				d.Clock.Advance(time.Minute)
			}
			if d.Written() != before {
				t.Error("something was written")
			}
			warned := ""
			for line := range strings.Lines(d.Log.String()) {
				if strings.Contains(line, `"level":"WARN"`) {
					warned += line
				}
			}
			if strings.Count(warned, "\n") != 1 {
				t.Errorf("the log warns %d times:\n%s", strings.Count(warned, "\n"), warned)
			}
			for _, text := range c.logged {
				if text = strings.ReplaceAll(text, "{}", provider.URL); !strings.Contains(warned, text) {
					t.Errorf("the log does not contain %s but\n%s", text, warned)
				}
			}
			d.WantAccepted(t, testserver.TypeJWT, d.TokenWith(nil)) // another issuer's
		})
	}
}
