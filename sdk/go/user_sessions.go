package latchkey

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// The back end's calls are for a client with a secret and `manage_sessions`. They
// are about the sessions of every user at every client of the tenant. Without
// that permission they are refused with an [Error] unauthorized_client.

// UserSessions lists the live sessions of a user, as [Client.Sessions] does.
func (c *Client) UserSessions(ctx context.Context, sub string) iter.Seq2[*SessionDetails, error] {
	return c.listSessions(ctx, c.credentials.Basic(), url.Values{"sub": {sub}})
}

// UserSession reads any session, also for a day after its end. An [Error]
// not_found: there is none.
func (c *Client) UserSession(ctx context.Context, sid string) (*SessionDetails, error) {
	d := &SessionDetails{}
	if err := c.callSessionAPI(ctx, http.MethodGet, "/sessions/"+url.PathEscape(sid), c.credentials.Basic(), nil, d); err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	return d, nil
}

// EndUserSession ends any session.
func (c *Client) EndUserSession(ctx context.Context, sid string) error {
	return c.deleteSessions(ctx, "/sessions/"+url.PathEscape(sid), c.credentials.Basic())
}

// EndUserSessions signs a user out everywhere. It is about the sessions that
// there are: a user who is not to come back is disabled at the server.
func (c *Client) EndUserSessions(ctx context.Context, sub string) error {
	return c.deleteSessions(ctx, "/sessions?"+url.Values{"sub": {sub}}.Encode(), c.credentials.Basic())
}

// ExtendSession moves the absolute end of a session to d from now, in whole
// seconds, but no further than its client's max_lifetime; the answer shows how
// far. Its idle end stays.
func (c *Client) ExtendSession(ctx context.Context, sid string, d time.Duration) (*SessionDetails, error) {
	details := &SessionDetails{}
	path, form := "/sessions/"+url.PathEscape(sid)+"/extend", url.Values{"expires_in": {formatSeconds(d)}}
	if err := c.callSessionAPI(ctx, http.MethodPost, path, c.credentials.Basic(), form, details); err != nil {
		return nil, fmt.Errorf("extend session: %w", err)
	}
	return details, nil
}
