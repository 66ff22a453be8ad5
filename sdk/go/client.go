package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// ErrSessionEnded is wrapped by every error that means that a session has
// ended: signed out, revoked, expired, or its refresh token was reused. The
// user must sign in again. Only a response of the server, or the session's
// [Store], leads to this error.
var ErrSessionEnded = errors.New("session ended")

// defaultRetryWindow is the default of a client's refresh_grace at the server.
const defaultRetryWindow = 10 * time.Second

// ClientOptions configure a [Client]. The zero value is for a public client
// that keeps its sessions in memory.
type ClientOptions struct {
	// ClientSecret authenticates the client with HTTP Basic. Empty: a public
	// client.
	ClientSecret string
	// HTTPClient sends all requests. Redirects are not followed. Default: a new
	// client.
	HTTPClient *http.Client
	// RetryWindow bounds how long one call repeats a request that gets no
	// response; each attempt may take a third of it. Default: 10 s.
	//
	// It does not bound the life of the session: a later call, also after a
	// restart, sends the same refresh token again, which the server accepts as
	// long as its successor is unused (with late_retry: once in about nine
	// refreshes after the client's refresh_grace). It also sends a pending
	// step-up again, which the server accepts as long as the session lives.
	RetryWindow time.Duration
	// Store keeps sessions across restarts. Default: sessions are kept in
	// memory only.
	Store Store
	// Now is the clock that decides when access tokens expire. Default:
	// time.Now.
	Now func() time.Time
}

// Client is an app's client at an issuer. It exchanges client tokens for
// sessions and refreshes their access tokens. It is safe for concurrent use;
// make one per app.
type Client struct {
	issuer      *wire.Issuer
	credentials wire.Credentials
	endpoint    endpoint
	retryWindow time.Duration
	store       Store
	now         func() time.Time

	mu       sync.Mutex
	inflight map[string]*inflight // by session id
}

// NewClient returns a client of an issuer. issuer is its base URL, as in the
// `iss` of its tokens. NewClient sends no request.
func NewClient(issuer, clientID string, o ClientOptions) (*Client, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.RetryWindow == 0 {
		o.RetryWindow = defaultRetryWindow
	}
	if clientID == "" {
		return nil, errors.New("latchkey: clientID is required")
	}
	if o.RetryWindow < 0 {
		return nil, fmt.Errorf("latchkey: invalid RetryWindow %s: must not be negative", o.RetryWindow)
	}
	i, err := wire.NewIssuer(issuer, o.HTTPClient, o.Now)
	if err != nil {
		return nil, err
	}
	return &Client{
		issuer: i, credentials: wire.Credentials{ID: clientID, Secret: o.ClientSecret}, endpoint: endpoint{i.HTTPClient, o.Now},
		retryWindow: o.RetryWindow, store: o.Store, now: o.Now, inflight: map[string]*inflight{},
	}, nil
}

// requestToken sends a form to the token endpoint.
func (c *Client) requestToken(ctx context.Context, form url.Values) (Tokens, error) {
	m, err := c.issuer.Metadata(ctx)
	if err != nil {
		return Tokens{}, err
	}
	sent, answer := c.now(), tokenResponse{}
	if err := c.endpoint.postForm(ctx, m.TokenEndpoint, form, c.credentials, &answer); err != nil {
		return Tokens{}, err
	}
	return answer.tokens(sent)
}

// maxExpiresIn bounds the expires_in that is accepted, in seconds.
const maxExpiresIn = 366 * 24 * 3600

// tokenResponse is a response of the token endpoint (RFC 6749 §5.1, RFC 8693
// §2.2.1).
type tokenResponse struct {
	AccessToken      string `json:"access_token"`
	TokenType        string `json:"token_type"`
	ExpiresIn        int64  `json:"expires_in"`
	Scope            string `json:"scope"`
	RefreshToken     string `json:"refresh_token"`
	SessionToken     string `json:"session_token"`
	SessionID        string `json:"session_id"`
	SessionExpiresAt int64  `json:"session_expires_at"`
	Generation       int64  `json:"latchkey_generation"`
}

// tokens returns the tokens of a response. Their lifetime counts from when the
// request was sent, so that a slow response does not extend it.
func (a tokenResponse) tokens(sent time.Time) (Tokens, error) {
	if a.AccessToken == "" || a.SessionID == "" || a.ExpiresIn <= 0 || a.ExpiresIn > maxExpiresIn || a.SessionExpiresAt <= 0 || !strings.EqualFold(a.TokenType, "Bearer") {
		return Tokens{}, fmt.Errorf("%w: unexpected response from the token endpoint: access_token, session_id, expires_in, session_expires_at or token_type is missing or invalid", ErrUnavailable)
	}
	return Tokens{
		SessionID: a.SessionID, SessionExpiry: time.Unix(a.SessionExpiresAt, 0), Scope: a.Scope,
		AccessToken: a.AccessToken, Expiry: sent.Add(time.Duration(a.ExpiresIn) * time.Second),
		RefreshToken: a.RefreshToken, SessionToken: a.SessionToken, Generation: a.Generation,
	}, nil
}
