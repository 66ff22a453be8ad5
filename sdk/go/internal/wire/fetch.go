package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// MaxDocument bounds the size of a JSON document.
	MaxDocument = 1 << 20
	// FetchTimeout bounds each fetch of a document, including its body.
	FetchTimeout = 5 * time.Second
)

// NoRedirects returns a copy of an HTTP client that does not follow redirects;
// for nil, a new one.
func NoRedirects(client *http.Client) *http.Client {
	if client == nil {
		client = &http.Client{}
	}
	plain := *client
	plain.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &plain
}

// Get fetches a document of at most limit bytes. Every error wraps
// ErrUnavailable.
func Get(ctx context.Context, client *http.Client, from, accept string, limit int64) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, FetchTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, nil, Unavailable(err)
	}
	r.Header.Set("Accept", accept)
	answer, err := client.Do(r)
	if err != nil {
		return nil, nil, Unavailable(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, nil, &UnexpectedResponse{Path: from, StatusCode: answer.StatusCode}
	}
	text, err := ReadUpTo(answer.Body, limit)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: read %s: %w", ErrUnavailable, from, err)
	}
	return text, answer.Header, nil
}

// GetJSON fetches a JSON document and decodes it. Every error wraps
// ErrUnavailable.
func GetJSON(ctx context.Context, client *http.Client, from string, to any) error {
	text, _, err := Get(ctx, client, from, "application/json", MaxDocument)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("%w: read %s: %w", ErrUnavailable, from, err)
	}
	return nil
}

// ReadUpTo reads everything from a reader. More than limit bytes are an error.
func ReadUpTo(from io.Reader, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("longer than %d bytes", limit)
	}
	return text, err
}
