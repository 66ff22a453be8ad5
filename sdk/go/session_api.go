package latchkey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
)

// ValidateSession asks the server for the session of a user's token: an access
// token (for the client itself) or a session token.
//
// An error that wraps [ErrInvalidToken] means that the token was rejected; for
// a session token it also wraps [ErrSessionEnded], while an access token may
// only have expired. After an error that wraps [ErrUnavailable] nothing is
// known about the token.
func (c *Client) ValidateSession(ctx context.Context, token string) (*SessionDetails, error) {
	d := &SessionDetails{}
	if err := c.callSessionAPI(ctx, http.MethodGet, "/session", bearer(token), nil, d); err != nil {
		return nil, fmt.Errorf("validate session: %w", c.classifyRefusal(token, err))
	}
	if d.ID == "" {
		return nil, fmt.Errorf("validate session: %w: unexpected response: id is missing", ErrUnavailable)
	}
	return d, nil
}

// Sessions lists the live sessions of a token's user, at all clients, newest
// first. It fetches page after page during the iteration; an error is the last
// element.
func (c *Client) Sessions(ctx context.Context, token string) iter.Seq2[*SessionDetails, error] {
	return c.listSessions(ctx, bearer(token), url.Values{})
}

// EndSession ends one of the sessions of a token's user. It returns an [Error]
// not_found if the user has no such session.
func (c *Client) EndSession(ctx context.Context, token, sid string) error {
	return c.deleteSessions(ctx, "/sessions/"+url.PathEscape(sid), bearer(token))
}

// EndOtherSessions ends all sessions of a token's user except the token's own.
func (c *Client) EndOtherSessions(ctx context.Context, token string) error {
	return c.deleteSessions(ctx, "/sessions?scope=others", bearer(token))
}

// EndAllSessions ends all sessions of a token's user, including the token's
// own. If the response is lost, the repetition fails with [ErrInvalidToken].
func (c *Client) EndAllSessions(ctx context.Context, token string) error {
	return c.deleteSessions(ctx, "/sessions?scope=all", bearer(token))
}

func (c *Client) deleteSessions(ctx context.Context, path, authorization string) error {
	if err := c.callSessionAPI(ctx, http.MethodDelete, path, authorization, nil, nil); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

func bearer(token string) string { return "Bearer " + token }

// classifyRefusal adds ErrSessionEnded if a session token was rejected for
// good.
func (c *Client) classifyRefusal(token string, err error) error {
	if errors.Is(err, ErrInvalidToken) && strings.HasPrefix(token, "lk_st_") && !isSuperseded(err) {
		return fmt.Errorf("%w: %w", ErrSessionEnded, err)
	}
	return err
}

// callSessionAPI sends a request to the session API. It may repeat the request:
// all of them are idempotent.
func (c *Client) callSessionAPI(ctx context.Context, method, path, authorization string, form url.Values, into any) error {
	if authorization == bearer("") {
		return ErrInvalidToken
	}
	return c.withRetry(ctx, func(ctx context.Context) error {
		header := http.Header{"Authorization": {authorization}}
		var body io.Reader
		if form != nil {
			header.Set("Content-Type", formContentType)
			body = strings.NewReader(form.Encode())
		}
		return c.endpoint.send(ctx, method, c.issuer.URL+path, header, body, into)
	})
}

// listSessions lists sessions page by page.
func (c *Client) listSessions(ctx context.Context, authorization string, query url.Values) iter.Seq2[*SessionDetails, error] {
	return func(yield func(*SessionDetails, error) bool) {
		query := withValue(query, "limit", "200")
		for {
			var page struct {
				Items []*SessionDetails `json:"items"`
				Next  string            `json:"next_cursor"`
			}
			if err := c.callSessionAPI(ctx, http.MethodGet, "/sessions?"+query.Encode(), authorization, nil, &page); err != nil {
				yield(nil, fmt.Errorf("list sessions: %w", err))
				return
			}
			for _, d := range page.Items {
				if !yield(d, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			query.Set("cursor", page.Next)
		}
	}
}
