package latchkey_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

func TestTheReasonDecidesWhetherASessionHasEnded(t *testing.T) {
	for _, c := range []struct {
		reason, endReason string
		over              bool
	}{
		{"session_ended", "revoked_by_user", true},
		{"refresh_reused", "reuse_detected", true},
		{"refresh_unknown", "", true},
		{"", "", true}, // an older server
		{"a_word_of_a_later_release", "", true},
		{"refresh_superseded", "", false},
		{"chain_mismatch", "", false},
	} {
		var issuer string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if r.Method == http.MethodGet {
				w.Write([]byte(`{"issuer":"` + issuer + `","token_endpoint":"` + issuer + `/token","jwks_uri":"` + issuer + `/jwks"}`))
				return
			}
			w.WriteHeader(http.StatusBadRequest)
			w.Write([]byte(`{"error":"invalid_grant","error_description":"a sentence","latchkey_reason":"` + c.reason + `","latchkey_end_reason":"` + c.endReason + `"}`))
		}))
		issuer = server.URL
		client, err := latchkey.NewClient(issuer, "web", latchkey.ClientOptions{HTTPClient: server.Client()})
		if err != nil {
			t.Fatal(err)
		}
		s := client.RestoreSession(latchkey.Tokens{AccessToken: "a", RefreshToken: "lk_rt_x", SessionID: "s", Expiry: time.Now()}, nil)
		err = client.RefreshSession(t.Context(), s)
		var refusal *latchkey.Error
		if !errors.As(err, &refusal) || refusal.Reason != c.reason || refusal.EndReason != c.endReason || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%q: %v", c.reason, err)
		}
		if errors.Is(err, latchkey.ErrSessionEnded) != c.over {
			t.Errorf("%q: the session is over: %t", c.reason, !c.over)
		}
		server.Close()
	}
}
