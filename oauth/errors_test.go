package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ory/fosite"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/issuerkeys"
	"github.com/latchkey/latchkey/oauth/keys"
)

func TestPlainTextKeepsAllowedCharacters(t *testing.T) {
	for text, want := range map[string]string{
		"A sentence, with 1 & 2; [more] ~": "A sentence, with 1 & 2; [more] ~",
		`a "quoted" \word`:                 "a quoted word",
		"a\r\nb\tc\x00d\x7fe":              "abcde",
		"é and \xff":                       " and ",
		"":                                 "",
	} {
		if got := plainText(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	var all strings.Builder
	for b := range 256 {
		all.WriteByte(byte(b))
	}
	for _, b := range []byte(plainText(all.String())) {
		if b < 0x20 || b > 0x7e || b == '"' || b == '\\' {
			t.Errorf("%#x is kept", b)
		}
	}
}

func TestWriteErrorMapsEveryError(t *testing.T) {
	const secret = "lk_rt_secret"
	for _, row := range []struct {
		name       string
		err        error
		status     int
		code       string
		retryAfter string
	}{
		{"an Error is not changed", badSubject(ReasonSubjectTokenExpired, "exp has passed").withCause(errors.New(secret)), 400, "invalid_request", ""},
		{"a wrapped Error", fmt.Errorf("exchange: %w", invalidTarget(ReasonTargetMalformed, "no")), 400, "invalid_target", ""},
		{"a failed authentication", invalidClient(errors.New(secret)), 401, "invalid_client", ""},
		{"an invalid refresh token", invalidGrant(ReasonRefreshUnknown, errors.New(secret)), 400, "invalid_grant", ""},
		{"a database that does not respond", fmt.Errorf("%w: %s", models.ErrUnavailable, secret), 503, "temporarily_unavailable", "1"},
		{"an issuer that does not respond", fmt.Errorf("%w: %s", issuerkeys.ErrUnavailable, secret), 503, "temporarily_unavailable", "1"},
		{"a misconfigured issuer", &issuerkeys.Fault{Problem: secret}, 500, "server_error", ""},
		{"a deadline", context.DeadlineExceeded, 503, "temporarily_unavailable", "1"},
		{"no signing key", keys.ErrNoSigningKey, 500, "server_error", ""},
		{"an unexpected error", errors.New(secret), 500, "server_error", ""},
		{"a missing row", models.ErrNotFound, 500, "server_error", ""},
		{"an invalid request of fosite", fosite.ErrInvalidRequest.WithHint(secret).WithDebug(secret), 400, "invalid_request", ""},
		{"an invalid client of fosite", fosite.ErrInvalidClient.WithHint(secret), 401, "invalid_client", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			call := &Call{Tenant: &Tenant{Issuer: "https://id.example.com/t/shop"}}
			(&Server{}).writeError(w, call, row.err)
			h := w.Header()
			var body map[string]string
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatalf("%s: %v", w.Body, err)
			}
			if w.Code != row.status || body["error"] != row.code || h.Get("Retry-After") != row.retryAfter || call.Outcome != row.code {
				t.Errorf("%d %s, Retry-After %q, logged as %q", w.Code, w.Body, h.Get("Retry-After"), call.Outcome)
			}
			if strings.Contains(w.Body.String(), secret) || len(body) != 3 || body["latchkey_reason"] == "" || body["error_description"] != plainText(body["error_description"]) {
				t.Errorf("unexpected content: %s", w.Body)
			}
			if h.Get("Cache-Control") != "no-store" || h.Get("Pragma") != "no-cache" || h.Get("Content-Type") != "application/json" {
				t.Errorf("headers %v", h)
			}
			challenge := ""
			if row.status == 401 {
				challenge = `Basic realm="https://id.example.com/t/shop"`
			}
			if h.Get("WWW-Authenticate") != challenge {
				t.Errorf("challenge %q", h.Get("WWW-Authenticate"))
			}
		})
	}
}
