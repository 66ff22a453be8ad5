package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// clientToken stands for the authentication service: a real one asks the user
// for a password or a passkey, and vouches with a client token for what it saw.
// The demo issuer of the development mode vouches for anybody.
func clientToken(ctx context.Context, issuer, user, method string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	form := url.Values{"sub": {user}, "amr": {method}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/dev/client-token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/plain")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", fmt.Errorf("authentication service: %w", err)
	}
	defer answer.Body.Close()
	token, err := io.ReadAll(io.LimitReader(answer.Body, 16<<10))
	if err != nil {
		return "", fmt.Errorf("authentication service: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("authentication service: %s", answer.Status)
	}
	return string(token), nil
}
