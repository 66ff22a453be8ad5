package latchkey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// read reads a document whole. Every failure is ErrUnavailable.
func (d *discovery) read(ctx context.Context, from, accept string, limit int64) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	r.Header.Set("Accept", accept)
	answer, err := d.http.Do(r)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, nil, &strangeAnswer{path: from, status: answer.StatusCode}
	}
	text, err := readUpTo(answer.Body, limit)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: reading %s: %w", ErrUnavailable, from, err)
	}
	return text, answer.Header, nil
}

// readUpTo reads everything, unless it is longer than the limit.
func readUpTo(from io.Reader, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = errors.New("it is too long")
	}
	return text, err
}

// endpoint refuses a URL of the metadata that is less safe than the issuer's.
func (d *discovery) endpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return fmt.Errorf("%w: the metadata of %s has no usable URL for what is needed", ErrUnavailable, d.issuer)
	}
	return nil
}
