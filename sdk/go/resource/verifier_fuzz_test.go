package resource_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// FuzzVerify checks that a token is accepted only if every parser would read it
// as a token of the issuer for this audience, and if it is the text that was
// signed. ISS stands for the issuer.
func FuzzVerify(f *testing.F) {
	issuer := latchkeytest.New(f)
	v := newVerifier(f, issuer, noRevocationCheck)
	f.Fuzz(func(t *testing.T, header, payload, before, after string) {
		header, payload = strings.ReplaceAll(header, "ISS", issuer.URL), strings.ReplaceAll(payload, "ISS", issuer.URL)
		token, err := v.Verify(t.Context(), before+issuer.SignText(header, payload)+after)
		if err != nil {
			if token != nil || errors.Is(err, latchkey.ErrInvalidToken) == errors.Is(err, latchkey.ErrUnavailable) {
				t.Errorf("%+v, %v", token, err)
			}
			return
		}
		var head, body map[string]any
		if json.Unmarshal([]byte(header), &head) != nil || json.Unmarshal([]byte(payload), &body) != nil || before+after != "" {
			t.Fatalf("accepts %q of %s %s", before+after, header, payload)
		}
		typ, _ := head["typ"].(string)
		if head["alg"] != "ES256" || head["kid"] != issuer.KeyID() || head["crit"] != nil || !strings.HasSuffix(strings.ToLower(typ), "at+jwt") {
			t.Errorf("accepts the header %s", header)
		}
		audience, _ := body["aud"].([]any)
		exp, _ := body["exp"].(float64)
		if body["iss"] != issuer.URL || body["aud"] != latchkeytest.Audience && !slices.Contains(audience, any(latchkeytest.Audience)) ||
			int64(exp) < issuer.Now().Unix()-31 || body["sub"] != token.Subject || body["jti"] != token.ID {
			t.Errorf("accepts the claims %s", payload)
		}
	})
}
