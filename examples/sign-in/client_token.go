package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// latchkey is a Latchkey server, and the client with mint_client_tokens.
type latchkey struct{ issuer, clientID, secret string }

// clientToken returns a token that signs u in at the client web, within a minute and once.
func (l *latchkey) clientToken(ctx context.Context, u *user, amr string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	body, err := json.Marshal(map[string]any{
		"sub": u.id, "amr": []string{amr}, "client_id": "web", "claims": map[string]string{"email": u.email},
	})
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.issuer+"/client-tokens", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	r.SetBasicAuth(l.clientID, l.secret)
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var minted struct {
		ClientToken string `json:"client_token"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(response.Body).Decode(&minted); err != nil {
		return "", fmt.Errorf("/client-tokens: %s: %w", response.Status, err)
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("/client-tokens: %s: %s", response.Status, minted.Description)
	}
	return minted.ClientToken, nil
}

// answer sends a JSON object that no cache keeps.
func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(body)
}
