package resource_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
	"github.com/latchkey/latchkey/sdk/go/resource"
)

// A resource server verifies tokens offline, and rejects one whose session was
// ended. In a program the issuer is a Latchkey tenant.
func ExampleNewVerifier() {
	issuer := latchkeytest.Start()
	defer issuer.Close()
	verifier, err := resource.NewVerifier(issuer.URL, "https://api.example.com", resource.VerifierOptions{
		ClientID: "api", ClientSecret: latchkeytest.ResourceClientSecret, // the resource server's own client
	})
	if err != nil {
		panic(err)
	}
	defer verifier.Close()

	text := issuer.Token(latchkeytest.Claims{"sub": "alice", "sid": "session-1", "scope": "orders:read"})
	token, err := verifier.Verify(context.Background(), text)
	if err != nil {
		panic(err)
	}
	fmt.Println(token.Subject, "may read:", token.HasScope("orders:read"))

	issuer.RevokeSession("session-1")
	for err == nil { // the revocation arrives within milliseconds
		_, err = verifier.Verify(context.Background(), text)
	}
	fmt.Println(err)
	// Output:
	// alice may read: true
	// invalid token: revoked
}

// The status with which a resource server answers.
func ExampleVerifier_Verify() {
	issuer := latchkeytest.Start()
	defer issuer.Close()
	verifier, err := resource.NewVerifier(issuer.URL, latchkeytest.Audience, resource.VerifierOptions{Revocation: resource.None, MaxTokenAge: time.Minute})
	if err != nil {
		panic(err)
	}
	defer verifier.Close()

	for _, text := range []string{issuer.Token(), issuer.ExpiredToken(), issuer.ForgedToken(), "nonsense"} {
		_, err := verifier.Verify(context.Background(), text)
		switch {
		case errors.Is(err, latchkey.ErrUnavailable):
			fmt.Println(503, err)
		case err != nil:
			fmt.Println(401, err)
		default:
			fmt.Println(200)
		}
	}
	// Output:
	// 200
	// 401 invalid token: expired
	// 401 invalid token: invalid signature
	// 401 invalid token: not a compact JWS
}
