package latchkey

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// UserSessions lists the live sessions of a user, as [Client.Sessions] does.
//
// UserSessions, UserSession, EndUserSession, EndUserSessions and ExtendSession
// are for back ends: the client needs a secret and the permission
// `manage_sessions`, and reaches the sessions of every user at every client of
// the tenant. Without the permission they fail with an [Error]
// unauthorized_client.
func (c *Client) UserSessions(ctx context.Context, sub string) iter.Seq2[*SessionDetails, error] {
	return c.listSessions(ctx, c.credentials.Basic(), url.Values{"sub": {sub}})
}

// UserSession returns any session, until a day after its end. It returns an
// [Error] not_found if there is none.
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

// EndUserSessions ends all current sessions of a user. The user can sign in
// again: to prevent that, disable the user at the server.
func (c *Client) EndUserSessions(ctx context.Context, sub string) error {
	return c.deleteSessions(ctx, "/sessions?"+url.Values{"sub": {sub}}.Encode(), c.credentials.Basic())
}

// ExtendSession moves the absolute end of a session to d from now, in whole
// seconds, but not beyond its client's max_lifetime. The result contains the
// new end. The idle timeout does not change.
func (c *Client) ExtendSession(ctx context.Context, sid string, d time.Duration) (*SessionDetails, error) {
	details := &SessionDetails{}
	path, form := "/sessions/"+url.PathEscape(sid)+"/extend", url.Values{"expires_in": {formatSeconds(d)}}
	if err := c.callSessionAPI(ctx, http.MethodPost, path, c.credentials.Basic(), form, details); err != nil {
		return nil, fmt.Errorf("extend session: %w", err)
	}
	return details, nil
}
