package admin

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// defaultRetryWindow is the default of Config.RetryWindow.
const defaultRetryWindow = 10 * time.Second

// Config configures a [Client]. fmt and log/slog do not print its key.
type Config struct {
	// Server is the base URL of the admin listener, such as
	// "http://127.0.0.1:8081". It must be https, except for loopback addresses.
	Server string
	// Key is an admin key (lk_ak_…).
	Key string `json:"-"`
	// HTTPClient sends all requests. Redirects are not followed. Default: a new
	// client.
	HTTPClient *http.Client `json:"-"`
	// RetryWindow is how long a call retries a request that gets no response.
	// Default: 10 s. If it is negative, every request is sent once.
	RetryWindow time.Duration
}

// String returns the server's URL, without the key.
func (c Config) String() string { return "admin API at " + c.Server }

// Format writes String, for any verb.
func (c Config) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue implements slog.LogValuer.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Client calls the admin API with one admin key. It is safe for concurrent use.
type Client struct {
	Tenants        Tenants
	Clients        Clients
	TrustedIssuers TrustedIssuers
	Users          Users
	Sessions       Sessions
	SigningKeys    SigningKeys
	Events         Events
	AdminKeys      AdminKeys

	EventDestinations EventDestinations

	c *connection
}

// New returns a client. It sends no request.
func New(c Config) (*Client, error) {
	server := strings.TrimRight(c.Server, "/")
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("latchkey: invalid Server: expected a base URL without user, query or fragment, such as \"http://127.0.0.1:8081\"")
	case !wire.IsSecure(u):
		return nil, fmt.Errorf("latchkey: invalid Server %q: expected https, because the admin key is sent there (http is allowed on loopback only)", server)
	case c.Key == "":
		return nil, errors.New("latchkey: Key is required")
	case strings.ContainsFunc(c.Key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("latchkey: invalid Key: expected one admin key, without spaces or line ends")
	}
	window := c.RetryWindow
	if window == 0 {
		window = defaultRetryWindow
	}
	authorize := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+c.Key) }
	k := &connection{base: server + basePath, authorize: authorize, http: wire.NoRedirects(c.HTTPClient), window: window}
	return &Client{
		Tenants: Tenants{k}, Clients: Clients{k}, TrustedIssuers: TrustedIssuers{k}, Users: Users{k}, Sessions: Sessions{k},
		SigningKeys: SigningKeys{k}, Events: Events{k}, AdminKeys: AdminKeys{k}, EventDestinations: EventDestinations{k}, c: k,
	}, nil
}

// String returns the server's URL, without the key.
func (c *Client) String() string { return "admin API at " + strings.TrimSuffix(c.c.base, basePath) }

// Format writes String, for any verb.
func (c *Client) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue implements slog.LogValuer.
func (c *Client) LogValue() slog.Value { return slog.StringValue(c.String()) }
