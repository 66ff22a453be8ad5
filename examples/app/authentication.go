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

// clientToken takes the place of an authentication service. A real service checks a
// password or a passkey and vouches for it with a client token. The demo issuer of
// the development mode vouches for anybody.
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
