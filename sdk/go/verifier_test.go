package latchkey_test

import (
	"errors"
	"testing"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

func newVerifier(t testing.TB, issuer *latchkeytest.Issuer, change func(*latchkey.VerifierOptions)) *latchkey.Verifier {
	t.Helper()
	o := issuer.Options()
	if change != nil {
		change(&o)
	}
	v, err := latchkey.NewVerifier(issuer.URL, latchkeytest.Audience, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func none(o *latchkey.VerifierOptions) { o.Revocation = latchkey.None }

func TestVerifyTakesATokenOfTheIssuer(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer, none)
	token := issuer.Token(latchkeytest.Claims{"scope": "profile orders:read", "acr": "phr", "amr": []string{"hwk"}, "sid": "s", "plan": "gold"})
	for range 2 {
		got, err := v.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		var own struct{ Plan string }
		if err := got.Claims(&own); err != nil || own.Plan != "gold" || got.Subject != latchkeytest.Subject || !got.HasScope("orders:read") || got.HasScope("orders") || got.SessionID != "s" || got.ACR != "phr" {
			t.Errorf("the token says %+v, %+v, %v", got, own, err)
		}
	}
	if _, err := v.Verify(t.Context(), issuer.ExpiredToken()); !errors.Is(err, latchkey.ErrInvalidToken) {
		t.Error(err)
	}
}
