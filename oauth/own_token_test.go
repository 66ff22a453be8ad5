package oauth

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testjose"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

func TestOwnTokensAreDistinguishedByTyp(t *testing.T) {
	private := ed25519.NewKeyFromSeed([]byte("thirty-two bytes that are secret"))
	kid, err := keys.Thumbprint(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	k := keysOf(t, rootA)
	row := models.SigningKey{TenantID: "default", Kid: kid, Algorithm: "Ed25519", ActivatesAt: models.At(epoch)}
	if row.Sealed, row.RootVersion, err = k.SealSigningKey("default", kid, "Ed25519", private); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.NewRing(k, []models.SigningKey{row}, ownTypes...)
	if err != nil {
		t.Fatal(err)
	}
	pen := func(header, payload string) string {
		input := testjose.Base64(header) + "." + testjose.Base64(payload)
		return input + "." + testjose.Base64(string(ed25519.Sign(private, []byte(input))))
	}
	tenant := &Tenant{ID: "default", Issuer: "https://id.example.com", ring: ring, clients: map[string]*Client{}}
	for id, typ := range map[string]string{"web": "", "old": jws.TypJWT} {
		tenant.clients[id] = &Client{Client: models.Client{TenantID: "default", ID: id, Settings: settings.ClientSettings{AccessTokenTyp: typ}}, tenant: tenant}
	}
	verify := func(typ, payload string) error {
		header := `{"alg":"EdDSA","kid":"` + kid + `"` + typ + `}`
		_, err := (&Server{}).verifyOwn(t.Context(), tenant, pen(header, payload), epoch)
		return err
	}
	const rest = `"iss":"https://id.example.com","sub":"alice","aud":"web","jti":"j","exp":1800000000`
	for typ, accepted := range map[string]string{ // the clients whose tokens may have this typ
		"at+jwt": "web old", "AT+JWT": "web old", "application/at+jwt": "web old", "Application/At+JWT": "web old",
		"JWT": "old", "jwt": "old", "application/jwt": "old",
		"": "", "JOSE": "", "at+jwt ": "", "application/application/at+jwt": "",
		"token-introspection+jwt": "", "logout+jwt": "", "secevent+jwt": "", "statuslist+jwt": "", "dpop+jwt": "", "client-authentication+jwt": "",
	} {
		for _, id := range []string{"web", "old"} {
			err := verify(`,"typ":"`+typ+`"`, `{"client_id":"`+id+`",`+rest+`}`)
			if want := strings.Contains(accepted, id); want && err != nil || !want && !errors.Is(err, errNotAccessToken) {
				t.Errorf("typ %q of the client %s: %v", typ, id, err)
			}
		}
	}
	if err := verify("", `{"client_id":"old",`+rest+`}`); !errors.Is(err, errNotAccessToken) {
		t.Errorf("no typ: %v", err)
	}
	for name, payload := range map[string]string{
		"another issuer":            `{"client_id":"web",` + strings.Replace(rest, `.com"`, `.com/t/shop"`, 1) + `}`,
		"an issuer with a slash":    `{"client_id":"web",` + strings.Replace(rest, `.com"`, `.com/"`, 1) + `}`,
		"no issuer":                 `{"client_id":"web","jti":"j","exp":1800000000}`,
		"a client that was removed": `{"client_id":"ios",` + rest + `}`,
		"no client":                 `{` + rest + `}`,
		"no jti":                    `{"client_id":"web",` + strings.Replace(rest, `"jti":"j",`, "", 1) + `}`,
		"no exp":                    `{"client_id":"web",` + strings.Replace(rest, `,"exp":1800000000`, "", 1) + `}`,
		"an exp that is text":       `{"client_id":"web",` + strings.Replace(rest, "1800000000", `"1800000000"`, 1) + `}`,
		"an exp that is true":       `{"client_id":"web",` + strings.Replace(rest, "1800000000", `true`, 1) + `}`,
		"a payload that is a list":  `[]`,
		"data after the payload":    `{"client_id":"web",` + rest + `}{}`,
	} {
		if err := verify(`,"typ":"at+jwt"`, payload); !errors.Is(err, keys.ErrUnknownToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
