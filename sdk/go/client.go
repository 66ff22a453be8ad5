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

// ErrSessionEnded is wrapped by every error that means that a session is over:
// signed out, revoked, expired, or its refresh token used by somebody else. The
// user has to sign in again. Only an answer of the server, or of the session's
// [Store], has this meaning.
var ErrSessionEnded = errors.New("the session is over")

// defaultRetryWindow is the default of a client's refresh_grace.
const defaultRetryWindow = 10 * time.Second

// ClientOptions change what [NewClient] makes. The zero value is a public client
// that keeps its sessions in memory.
type ClientOptions struct {
	// ClientSecret authenticates the client by HTTP Basic. Empty: a public client.
	ClientSecret string
	// HTTPClient carries the requests; default one of its own. Redirects are
	// never followed.
	HTTPClient *http.Client
	// RetryWindow is how long one call goes on sending a request whose answer did
	// not come; each attempt may take a third of it. Default 10 s. It bounds the
	// caller's patience and not the session's life: a later call, or a later start,
	// sends the same refresh token again, which the server answers for as long as
	// its successor is unused (with late_retry: once in about nine refreshes after
	// the client's refresh_grace), and it sends a pending step-up again, which the
	// server answers for as long as the session lives.
	RetryWindow time.Duration
	// Store keeps sessions across restarts. Default: none, they live in memory.
	Store Store
	// Now is the clock that tells when access tokens expire; default time.Now.
	Now func() time.Time
}

// Client is an app client of an issuer: it swaps client tokens for sessions and
// keeps these alive. It is safe for concurrent use; an app has one.
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

// NewClient makes the client clientID of an issuer, given as the base URL that
// its tokens name. The issuer is not asked anything until it is needed.
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
		return nil, errors.New("latchkey: RetryWindow must not be negative")
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

// requestToken posts to the token endpoint.
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

// maxExpiresIn bounds what is believed of an access token's life, in seconds.
const maxExpiresIn = 366 * 24 * 3600

// tokenResponse is what the token endpoint says (RFC 6749 §5.1, RFC 8693 §2.2.1).
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

// tokens are those of an answer to a request that was sent at a moment, from
// which their life is counted: a slow answer makes it no longer.
func (a tokenResponse) tokens(sent time.Time) (Tokens, error) {
	if a.AccessToken == "" || a.SessionID == "" || a.ExpiresIn <= 0 || a.ExpiresIn > maxExpiresIn || a.SessionExpiresAt <= 0 || !strings.EqualFold(a.TokenType, "Bearer") {
		return Tokens{}, fmt.Errorf("%w: the token endpoint answers without a session's tokens", ErrUnavailable)
	}
	return Tokens{
		SessionID: a.SessionID, SessionExpiry: time.Unix(a.SessionExpiresAt, 0), Scope: a.Scope,
		AccessToken: a.AccessToken, Expiry: sent.Add(time.Duration(a.ExpiresIn) * time.Second),
		RefreshToken: a.RefreshToken, SessionToken: a.SessionToken, Generation: a.Generation,
	}, nil
}
