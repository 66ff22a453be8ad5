package testwire

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

func TestNoTokenOrSecretIsStored(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		token := d.Issuer.Token(d.URL, "alice", map[string]any{"jti": "the-jti-of-a-subject-token"})
		exchange := []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "subject_token", token}
		first := d.Want(200, "", d.Post("/token", exchange, asBackend))
		d.Want(400, "invalid_request", d.Post("/token", exchange, asBackend)) // leaves an event
		second := d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", first.Text("refresh_token")}, asBackend))
		third := d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", second.Text("refresh_token")}, asBackend))
		d.Clock.Advance(time.Minute)
		d.Want(400, testserver.InvalidGrant, d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", first.Text("refresh_token")}, asBackend)) // another one
		machine := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, asBackend))
		d.Want(200, "", d.Post("/revoke", []string{"token", machine.Text("access_token")}, asBackend))

		kept := d.Stored()
		if !strings.Contains(kept, d.Issuer.URL) || !strings.Contains(kept, "alice") || !strings.Contains(kept, string(models.EventClientTokenReplayed)) {
			t.Fatalf("what is stored was not read: %q", kept)
		}
		for name, text := range map[string]string{
			"the subject token": token, "an access token": first.Text("access_token"), "a refreshed one": second.Text("access_token"), "the last one": third.Text("access_token"), "a revoked one": machine.Text("access_token"),
		} {
			payload, signature, _ := strings.Cut(text[strings.Index(text, ".")+1:], ".")
			raw, err := base64.RawURLEncoding.DecodeString(signature)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range []string{payload, signature, hex.EncodeToString(raw)} {
				if strings.Contains(kept, part) {
					t.Errorf("%s is stored", name)
				}
			}
		}
		for name, text := range map[string]string{
			"a used refresh token": first.Text("refresh_token"), "the last used refresh token": second.Text("refresh_token"), "the current refresh token": third.Text("refresh_token"), "the session token": first.Text("session_token"),
		} {
			raw, err := base64.RawURLEncoding.DecodeString(text[len("lk_rt_"):])
			if err != nil || len(raw) != 72 {
				t.Fatal(err, len(raw))
			}
			secret := raw[24:56] // 256 random bits, or a value derived from them
			for _, part := range []string{text[len("lk_rt_")+40:], hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret)} {
				if strings.Contains(kept, part) {
					t.Errorf("%s is stored", name)
				}
			}
		}
		for name, secret := range map[string]string{"the client's secret": testserver.ClientSecret, "the root secret": testserver.RootSecret, "the jti": "the-jti-of-a-subject-token"} {
			for _, part := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret))} {
				if strings.Contains(kept, part) {
					t.Errorf("%s is stored", name)
				}
			}
		}
	})
}

func TestAnEventRecordsWhoSignedInAndHow(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		id, err := models.ParseSessionID(a.Text("session_id"))
		if err != nil {
			t.Fatal(err)
		}
		events, err := d.Store.SessionEvents(t.Context(), "default", id)
		if err != nil || len(events) != 1 {
			t.Fatalf("%v, %v", events, err)
		}
		e := events[0]
		if digest, _ := e.Details["jti_digest"].(string); e.Type != models.EventSessionCreated || e.Details["iss"] != d.Issuer.URL || len(digest) != 64 ||
			e.Subject != "alice" || e.ClientID != "web" {
			t.Errorf("%+v", e)
		}
	})
}
