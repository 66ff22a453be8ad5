package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// signingAlgorithms are what a tenant may say, and the alg of its tokens.
var signingAlgorithms = map[string]string{"": "RS256", "RS256": "RS256", "ES256": "ES256", "Ed25519": "EdDSA"}

// newWorldThatSigns is a world whose tenant says how to sign, or nothing, for
// which the helper of other tests puts something in.
func newWorldThatSigns(t *testing.T, algorithm string) *world {
	t.Helper()
	clock := testserver.NewClock()
	w := &world{testserver.New(t, testserver.Options{DatabaseURL: testdb.SQLite(t), Clock: clock}), testserver.NewIssuer(t, clock), t}
	tenant := testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend())
	tenant.SigningAlgorithm = algorithm
	ctx := context.Background()
	_, err := w.Store.Apply(ctx, []models.TenantSpec{tenant}, w.Keys, models.ApplyOptions{})
	if err = errors.Join(err, w.OAuth.EnsureSigningKeys(ctx), w.OAuth.Refresh(ctx)); err != nil {
		t.Fatal(err)
	}
	return w
}

// verified is the payload of a token whose signature is good by the published
// keys of the tenant default.
func (w *world) verified(token string) []byte {
	w.t.Helper()
	payload, err := oidc.NewRemoteKeySet(context.Background(), w.URL+"/.well-known/jwks.json").VerifySignature(context.Background(), token)
	if err != nil {
		w.t.Fatal(err)
	}
	return payload
}

func TestHeadersOfWhatWeSignHoldNothingElse(t *testing.T) {
	for algorithm, alg := range signingAlgorithms {
		t.Run("signing_algorithm "+algorithm, func(t *testing.T) {
			w := newWorldThatSigns(t, algorithm)
			kid := w.published("")[0]["kid"]
			access := w.signIn("alice").Text("access_token")
			signed := string(w.want(200, "", w.Post("/introspect", []string{"token", access}, asBackend(), accept(introspectionJWT))).Body)
			for token, typ := range map[string]string{access: "at+jwt", w.machineToken(): "at+jwt", signed: "token-introspection+jwt"} {
				want := map[string]any{"typ": typ, "alg": alg, "kid": kid}
				if got := headerOf(t, token); !maps.Equal(got, want) {
					t.Errorf("header %v, want %v", got, want)
				}
				w.verified(token)
			}
			metadata := w.want(200, "", w.Get("/.well-known/openid-configuration")).JSON
			if got := fmt.Sprint(metadata["introspection_signing_alg_values_supported"]); got != "["+alg+"]" {
				t.Errorf("introspection is said to be signed with %s", got)
			}
		})
	}
}
