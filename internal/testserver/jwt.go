package testserver

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
)

// VerifiedPayload verifies a token with the published keys of the tenant default and
// returns its payload.
func (d *Deployment) VerifiedPayload(token string) []byte {
	d.T.Helper()
	payload, err := oidc.NewRemoteKeySet(context.Background(), d.URL+"/.well-known/jwks.json").VerifySignature(context.Background(), token)
	if err != nil {
		d.T.Fatal(err)
	}
	return payload
}

// PublishedKeys reads the key set of the tenant at base.
func (d *Deployment) PublishedKeys(base string) (keys []map[string]any) {
	d.T.Helper()
	for _, key := range d.Want(200, "", d.Get(base+"/.well-known/jwks.json")).JSON["keys"].([]any) {
		keys = append(keys, key.(map[string]any))
	}
	return keys
}

// Claims returns the payload of a response's access token.
func Claims(t *testing.T, a *Answer) map[string]any {
	t.Helper()
	return TokenPart(t, a, 1)
}

// TokenPart returns the header (0) or payload (1) of a response's access token.
func TokenPart(t *testing.T, a *Answer, i int) map[string]any {
	t.Helper()
	return JWTPart(t, a.Text("access_token"), i)
}

// JWTHeader returns the header of a JWT.
func JWTHeader(t *testing.T, token string) map[string]any {
	t.Helper()
	return JWTPart(t, token, 0)
}

// JWTPart returns the header (0) or payload (1) of a JWT.
func JWTPart(t *testing.T, token string, i int) (object map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %s", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[i])
	if err == nil {
		err = json.Unmarshal(raw, &object)
	}
	if err != nil {
		t.Fatal(err)
	}
	return object
}
