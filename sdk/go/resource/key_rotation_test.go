package resource_test

import (
	"errors"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
	"github.com/latchkey/latchkey/sdk/go/resource"
)

const keySetPath = "/.well-known/jwks.json"

func TestVerifyFollowsTheKeysOfTheIssuer(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer, noRevocationCheck)
	old := issuer.Token()
	want(t, v, old, nil)

	issuer.RotateKey()
	fresh := issuer.Token()
	for range 3 {
		want(t, v, fresh, latchkey.ErrInvalidToken) // an attacker could have invented its kid
	}
	if n := issuer.RequestCount(keySetPath); n != 1 {
		t.Errorf("within 30 s the keys were fetched %d times", n)
	}
	issuer.Advance(30 * time.Second)
	for range 3 {
		want(t, v, fresh, nil)
		want(t, v, old, nil)
		want(t, v, issuer.SignText(`{"alg":"ES256","typ":"at+jwt","kid":"none"}`, "{}"), latchkey.ErrInvalidToken)
	}
	if n := issuer.RequestCount(keySetPath); n != 2 {
		t.Errorf("after 30 s the keys were fetched %d times", n)
	}
}

func TestVerifyRejectsTokensOfARemovedKey(t *testing.T) {
	for name, cache := range map[string]int{"and the tokens that it has verified": 0, "without a cache": -1} {
		t.Run(name, func(t *testing.T) {
			issuer := latchkeytest.New(t)
			v := newVerifier(t, issuer, noRevocationCheck, func(o *resource.VerifierOptions) { o.CacheSize = cache })
			token := issuer.Token(claims{"exp": issuer.Now().Add(time.Hour).Unix()})
			want(t, v, token, nil)
			issuer.RotateKey()
			issuer.RemoveOldKeys()
			issuer.Advance(301 * time.Second) // of Cache-Control
			want(t, v, token, latchkey.ErrInvalidToken)
			want(t, v, issuer.Token(), nil)
		})
	}
}

// Under steady load the keys are fetched before they expire, and no caller
// waits.
func TestVerifyRefreshesKeysInTheBackground(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer, noRevocationCheck)
	token := issuer.Token(claims{"exp": issuer.Now().Add(time.Hour).Unix()})
	want(t, v, token, nil)
	issuer.Advance(200 * time.Second)
	want(t, v, token, nil)
	if n := issuer.RequestCount(keySetPath); n != 1 {
		t.Errorf("fresh keys were fetched %d times", n)
	}
	issuer.Advance(40 * time.Second)
	want(t, v, token, nil)
	until(t, func() bool { return issuer.RequestCount(keySetPath) == 2 })
}

func TestVerifyWhileTheIssuerIsDown(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer, noRevocationCheck)
	late := latchkeytest.New(t)
	late.SetDown(true)
	started := newVerifier(t, late, noRevocationCheck)
	want(t, started, late.Token(), latchkey.ErrUnavailable)
	want(t, started, "x", latchkey.ErrInvalidToken) // with any keys

	good := claims{"exp": issuer.Now().Add(3 * time.Hour).Unix()}
	seen, unseen := issuer.Token(good), issuer.Token(good)
	want(t, v, seen, nil)
	issuer.SetDown(true)
	issuer.Advance(time.Hour)
	for range 3 {
		want(t, v, seen, nil)
	}
	want(t, v, unseen, nil)
	issuer.RotateKey()
	fresh := issuer.Token(good)
	want(t, v, fresh, latchkey.ErrUnavailable) // its key may be the issuer's
	if s := v.Status(); s.Err != nil {
		t.Errorf("while the keys are usable the status is %v", s.Err)
	}

	issuer.Advance(5*time.Minute + time.Second)
	want(t, v, seen, latchkey.ErrUnavailable)
	want(t, v, unseen, latchkey.ErrUnavailable)
	if s := v.Status(); !errors.Is(s.Err, latchkey.ErrUnavailable) {
		t.Errorf("without keys the status is %v", s.Err)
	}

	for _, i := range []*latchkeytest.Issuer{issuer, late} {
		i.SetDown(false)
		i.Advance(3 * time.Second)
	}
	for _, token := range []string{seen, unseen, fresh} {
		want(t, v, token, nil)
	}
	want(t, started, late.Token(), nil)
}
