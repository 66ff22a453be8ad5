package handlers_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// stored is every value of every table, text and bytes as they are.
func (w *world) stored() []byte {
	w.t.Helper()
	db := openDatabase(w.t, w.DatabaseURL)
	list := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if !strings.HasPrefix(w.DatabaseURL, "sqlite:") {
		list = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
	}
	var all bytes.Buffer
	query := func(statement string) (values []string) {
		rows, err := db.Query(statement)
		if err != nil {
			w.t.Fatal(err)
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			w.t.Fatal(err)
		}
		for rows.Next() {
			into := make([]any, len(columns))
			for i := range into {
				into[i] = new(any)
			}
			if err := rows.Scan(into...); err != nil {
				w.t.Fatal(err)
			}
			for _, p := range into {
				switch v := (*p.(*any)).(type) {
				case []byte:
					values = append(values, string(v))
				default:
					values = append(values, fmt.Sprint(v))
				}
			}
		}
		if err := rows.Err(); err != nil {
			w.t.Fatal(err)
		}
		return values
	}
	for _, table := range query(list) {
		for _, value := range query("SELECT * FROM " + table) {
			all.WriteString(value)
			all.WriteByte('\n')
		}
	}
	return all.Bytes()
}

func TestNoTokenOrSecretIsStored(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		token := w.issuer.Token(w.URL, "alice", map[string]any{"jti": "the-jti-of-a-subject-token"})
		exchange := []string{"grant_type", tokenExchange, "subject_token_type", ofJWT, "subject_token", token}
		first := w.want(200, "", w.Post("/token", exchange, asBackend))
		w.want(400, "invalid_request", w.Post("/token", exchange, asBackend)) // leaves an event
		second := w.want(200, "", w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", first.Text("refresh_token")}, asBackend))
		w.Clock.Advance(time.Minute)
		w.want(400, refused, w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", first.Text("refresh_token")}, asBackend)) // another one
		machine := w.want(200, "", w.Post("/token", []string{"grant_type", "client_credentials"}, asBackend))
		w.want(200, "", w.Post("/revoke", []string{"token", machine.Text("access_token")}, asBackend))

		kept := w.stored()
		if !bytes.Contains(kept, []byte(w.issuer.URL)) || !bytes.Contains(kept, []byte("alice")) || !bytes.Contains(kept, []byte(models.EventClientTokenReplayed)) {
			t.Fatalf("what is stored was not read: %q", kept)
		}
		for name, text := range map[string]string{
			"the subject token": token, "an access token": first.Text("access_token"), "a refreshed one": second.Text("access_token"), "a revoked one": machine.Text("access_token"),
		} {
			payload, signature, _ := strings.Cut(text[strings.Index(text, ".")+1:], ".")
			raw, err := base64.RawURLEncoding.DecodeString(signature)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range []string{payload, signature, string(raw), hex.EncodeToString(raw)} {
				if bytes.Contains(kept, []byte(part)) {
					t.Errorf("%s is stored", name)
				}
			}
		}
		for name, text := range map[string]string{
			"a used refresh token": first.Text("refresh_token"), "the current refresh token": second.Text("refresh_token"), "the session token": first.Text("session_token"),
		} {
			raw, err := base64.RawURLEncoding.DecodeString(text[len("lk_rt_"):])
			if err != nil || len(raw) != 72 {
				t.Fatal(err, len(raw))
			}
			secret := raw[24:56] // 256 bits of chance, or what follows from them
			for _, part := range [][]byte{[]byte(text[len("lk_rt_")+40:]), secret, []byte(hex.EncodeToString(secret)), []byte(base64.StdEncoding.EncodeToString(secret)), []byte(base64.RawURLEncoding.EncodeToString(secret))} {
				if bytes.Contains(kept, part) {
					t.Errorf("%s is stored", name)
				}
			}
		}
		for name, secret := range map[string]string{"the client's secret": testserver.ClientSecret, "the root secret": testserver.RootSecret, "the jti": "the-jti-of-a-subject-token"} {
			for _, part := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret))} {
				if bytes.Contains(kept, []byte(part)) {
					t.Errorf("%s is stored", name)
				}
			}
		}
	})
}

func TestAnEventTellsWhoSignedInByWhat(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signIn("alice")
		id, err := models.ParseSessionID(a.Text("session_id"))
		if err != nil {
			t.Fatal(err)
		}
		events, err := w.Store.SessionEvents(t.Context(), "default", id)
		if err != nil || len(events) != 1 {
			t.Fatalf("%v, %v", events, err)
		}
		e := events[0]
		if digest, _ := e.Details["jti_digest"].(string); e.Type != models.EventSessionCreated || e.Details["iss"] != w.issuer.URL || len(digest) != 64 ||
			e.Subject != "alice" || e.ClientID != "web" {
			t.Errorf("%+v", e)
		}
	})
}
