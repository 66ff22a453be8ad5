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
func part(t *testing.T, a *testserver.Answer, i int) (object map[string]any) {
	t.Helper()
	parts := strings.Split(a.Text("access_token"), ".")
	if len(parts) != 3 {
		t.Fatalf("no access token in %s", a.Body)
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
