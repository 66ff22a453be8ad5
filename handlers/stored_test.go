package handlers_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// stored is every row of the database, or of the tables named: one line each,
// with bytes in hexadecimal, in an order of its own.
func (w *world) stored(tables ...string) string {
	w.t.Helper()
	db := openDatabase(w.t, w.DatabaseURL)
	defer db.Close()
	if tables == nil {
		list := "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
		if strings.HasPrefix(w.DatabaseURL, "sqlite:") {
			list = "SELECT name FROM sqlite_master WHERE type = 'table'"
		}
		names, err := db.Query(list)
		if err != nil {
			w.t.Fatal(err)
		}
		for names.Next() {
			var name string
			if err := names.Scan(&name); err != nil {
				w.t.Fatal(err)
			}
			tables = append(tables, name)
		}
		if err := names.Err(); err != nil {
			w.t.Fatal(err)
		}
	}
	var lines []string
	for _, table := range tables {
		rows, err := db.Query("SELECT * FROM " + table)
		if err != nil {
			w.t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			w.t.Fatal(err)
		}
		for rows.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				w.t.Fatal(err)
			}
			line := table
			for i, value := range values {
				if bytes, ok := value.([]byte); ok {
					value = fmt.Sprintf("%x", bytes)
				}
				line += fmt.Sprintf(" %s=%v", columns[i], value)
			}
			lines = append(lines, line)
		}
		if err := rows.Err(); err != nil {
			w.t.Fatal(err)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// written is what requests write: no configuration, and no lease.
func (w *world) written() string {
	w.t.Helper()
	return w.stored("sessions", "users", "spent_tokens", "revoked_tokens", "events")
}

// same fails the test if requests have written anything since.
func (w *world) same(t *testing.T, before string) {
	t.Helper()
	if after := w.written(); after != before {
		t.Errorf("stored:\n%s\nbefore:\n%s", after, before)
	}
}

// exchangeAsBackend signs in at the secret client, which gets every kind of
// token.
func (w *world) exchangeAsBackend(sub string) []string {
	return []string{"grant_type", tokenExchange, "subject_token_type", ofJWT, "subject_token", w.issuer.Token(w.URL, sub, nil)}
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
		if !strings.Contains(kept, w.issuer.URL) || !strings.Contains(kept, "alice") || !strings.Contains(kept, string(models.EventClientTokenReplayed)) {
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
			for _, part := range []string{payload, signature, hex.EncodeToString(raw)} {
				if strings.Contains(kept, part) {
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
