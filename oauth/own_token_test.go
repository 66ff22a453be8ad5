package oauth

import (
	"crypto"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testjose"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/settings"
)

// ownKey returns a ring with one key, and a function that signs any token with it.
func ownKey(t *testing.T) (ring *keyRing, kid string, pen func(header, payload string) string) {
	t.Helper()
	k := keysOf(t, rootA)
	row := newRow(t, k, "Ed25519", 0)
	ring = ringOf(t, k, row)
	return ring, row.Kid, func(header, payload string) string {
		input := testjose.Base64(header) + "." + testjose.Base64(payload)
		signature, err := ring.byKid[row.Kid].private.Sign(rand.Reader, []byte(input), crypto.Hash(0))
		if err != nil {
			t.Fatal(err)
		}
		return input + "." + testjose.Base64(string(signature))
	}
}

// Only this server can make such signatures. Malformed tokens are rejected all
// the same, but not because of their signature.
func TestKeyRingRejectsMalformedTokensOfItsOwnKey(t *testing.T) {
	ring, kid, pen := ownKey(t)
	with := func(members string) string { return `{"alg":"EdDSA","kid":"` + kid + `"` + members + `}` }
	if _, _, err := ring.verify(epoch, pen(with(""), `{}`)); err != nil {
		t.Fatalf("the token that the others are made from: %v", err)
	}
	for name, header := range map[string]string{
		"crit":                                with(`,"crit":["exp"]`),
		"an empty crit":                       with(`,"crit":[]`),
		"b64":                                 with(`,"b64":true`),
		"zip":                                 with(`,"zip":"DEF"`),
		"enc":                                 with(`,"enc":"A128GCM"`),
		"alg twice":                           with(`,"alg":"EdDSA"`),
		"a member twice, one of them escaped": with(`,"\u006bid":"` + kid + `"`),
		"two members further inside":          with(`,"a":{"b":1,"b":1}`),
		"data after the header":               with("") + "{}",
		"invalid UTF-8":                       with(`,"a":"` + "\xff" + `"`),
		"more than 4 KiB":                     with(`,"a":"` + strings.Repeat("a", 4<<10) + `"`),
		"seventeen levels":                    with(`,"a":` + testjose.Nested(16)),
		"no alg":                              `{"kid":"` + kid + `"}`,
		"alg none":                            `{"alg":"none","kid":"` + kid + `"}`,
		"its alg in another case":             `{"alg":"eddsa","kid":"` + kid + `"}`,
		"its alg under another name":          `{"alg":"Ed25519","kid":"` + kid + `"}`,
		"another alg":                         `{"alg":"ES256","kid":"` + kid + `"}`,
		"no kid":                              `{"alg":"EdDSA"}`,
		"an empty kid":                        `{"alg":"EdDSA","kid":""}`,
		"a kid that is a list":                `{"alg":"EdDSA","kid":["` + kid + `"]}`,
		"its kid with a space":                `{"alg":"EdDSA","kid":"` + kid + ` "}`,
	} {
		if _, payload, err := ring.verify(epoch, pen(header, `{}`)); err == nil {
			t.Errorf("%s: accepted with the payload %s", name, payload)
		}
	}
	if _, _, err := ring.verify(epoch, pen(with(""), `{"a":"`+strings.Repeat("a", 12<<10)+`"}`)); err == nil {
		t.Error("a token of more than 16 KiB is accepted")
	}
}

func TestOwnTokensAreDistinguishedByTyp(t *testing.T) {
	ring, kid, pen := ownKey(t)
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
		if err := verify(`,"typ":"at+jwt"`, payload); !errors.Is(err, errUnknownToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
