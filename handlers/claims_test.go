package handlers_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
)

// claims reads the payload of an answer's access token.
func claims(t *testing.T, a *testserver.Answer) map[string]any {
	t.Helper()
	return part(t, a, 1)
}

// part reads the header (0) or payload (1) of an answer's access token.
func part(t *testing.T, a *testserver.Answer, i int) map[string]any {
	t.Helper()
	return jwtPart(t, a.Text("access_token"), i)
}

// headerOf reads the header of a JWT.
func headerOf(t *testing.T, token string) map[string]any {
	t.Helper()
	return jwtPart(t, token, 0)
}

func jwtPart(t *testing.T, token string, i int) (object map[string]any) {
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
