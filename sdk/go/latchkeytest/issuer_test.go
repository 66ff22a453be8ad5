package latchkeytest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
	"github.com/latchkey/latchkey/sdk/go/resource"
)

// A resource server is tested with an issuer of its own. A test gets one from
// New, which also closes it.
func Example() {
	issuer := latchkeytest.Start()
	defer issuer.Close()
	verifier, err := resource.NewVerifier(issuer.URL, latchkeytest.Audience, issuer.VerifierOptions())
	if err != nil {
		panic(err)
	}
	defer verifier.Close()

	verify := func(token string) {
		_, err := verifier.Verify(context.Background(), token)
		fmt.Println(err)
	}
	token := issuer.Token(latchkeytest.Claims{"sub": "alice", "scope": "orders:read"})
	verify(token)
	issuer.Advance(latchkeytest.AccessTokenLifetime * 2)
	verify(token)
	// Output:
	// <nil>
	// invalid token: expired
}

func introspect(t *testing.T, issuer *latchkeytest.Issuer, token, secret string) (status int, active bool) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, issuer.URL+"/introspect", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(latchkeytest.ResourceClientID, secret)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var said struct{ Active bool }
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, said.Active
}

func TestIntrospectionKnowsWhatIsRevoked(t *testing.T) {
	for name, revoke := range map[string]func(*latchkeytest.Issuer){
		"a session": func(i *latchkeytest.Issuer) { i.RevokeSession("s") },
		"a token":   func(i *latchkeytest.Issuer) { i.RevokeToken("j") },
		"a user":    func(i *latchkeytest.Issuer) { i.RevokeUser(latchkeytest.Subject) },
		"a client":  func(i *latchkeytest.Issuer) { i.RevokeClient(latchkeytest.ClientID) },
		"an issuer": func(i *latchkeytest.Issuer) { i.RevokeIssuer("https://login.example.com", "s") },
		"an end":    func(i *latchkeytest.Issuer) { i.Advance(latchkeytest.AccessTokenLifetime) },
	} {
		t.Run(name, func(t *testing.T) {
			issuer := latchkeytest.New(t)
			token := issuer.Token(latchkeytest.Claims{"sid": "s", "jti": "j"})
			if status, active := introspect(t, issuer, token, latchkeytest.ResourceClientSecret); status != 200 || !active {
				t.Errorf("before: %d, %t", status, active)
			}
			revoke(issuer)
			if status, active := introspect(t, issuer, token, latchkeytest.ResourceClientSecret); status != 200 || active {
				t.Errorf("after: %d, %t", status, active)
			}
		})
	}
	issuer := latchkeytest.New(t)
	if status, active := introspect(t, issuer, issuer.ForgedToken(), latchkeytest.ResourceClientSecret); status != 200 || active {
		t.Errorf("a foreign token: %d, %t", status, active)
	}
	if status, _ := introspect(t, issuer, issuer.Token(), "wrong"); status != 401 {
		t.Errorf("a wrong secret: %d", status)
	}
}
