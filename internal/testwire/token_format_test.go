package testwire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// signingAlgorithms maps the settings of a tenant to the alg of its tokens.
var signingAlgorithms = map[string]string{"": "RS256", "RS256": "RS256", "ES256": "ES256", "Ed25519": "EdDSA"}

// newDeploymentThatSigns signs with the algorithm, or with the server's default if it is
// empty. (Elsewhere the harness replaces an empty algorithm.)
func newDeploymentThatSigns(t *testing.T, algorithm string) *testserver.Deployment {
	t.Helper()
	clock := testserver.NewClock()
	d := &testserver.Deployment{Issuer: testserver.NewIssuer(t, clock), T: t}
	d.Server = testserver.New(t, testserver.Options{DatabaseURL: testdb.SQLite(t), Clock: clock})
	tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
	tenant.SigningAlgorithm = algorithm
	ctx := context.Background()
	_, err := d.Store.Apply(ctx, []settings.TenantSpec{tenant}, d.Keys, models.ApplyOptions{Replace: true})
	if err = errors.Join(err, d.OAuth.EnsureSigningKeys(ctx), d.OAuth.Refresh(ctx)); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSignedHeadersHaveNoOtherMembers(t *testing.T) {
	for algorithm, alg := range signingAlgorithms {
		t.Run("signing_algorithm "+algorithm, func(t *testing.T) {
			d := newDeploymentThatSigns(t, algorithm)
			kid := d.PublishedKeys("")[0]["kid"]
			access := d.SignIn("alice").Text("access_token")
			signed := string(d.Want(200, "", d.Post("/introspect", []string{"token", access}, testserver.AsBackend(), testserver.Accept(testserver.IntrospectionJWT))).Body)
			for token, typ := range map[string]string{access: "at+jwt", d.MachineToken(): "at+jwt", signed: "token-introspection+jwt"} {
				want := map[string]any{"typ": typ, "alg": alg, "kid": kid}
				if got := testserver.JWTHeader(t, token); !maps.Equal(got, want) {
					t.Errorf("header %v, want %v", got, want)
				}
				d.VerifiedPayload(token)
			}
			metadata := d.Want(200, "", d.Get("/.well-known/openid-configuration")).JSON
			if got := fmt.Sprint(metadata["introspection_signing_alg_values_supported"]); got != "["+alg+"]" {
				t.Errorf("the metadata lists %s for introspection", got)
			}
		})
	}
}
