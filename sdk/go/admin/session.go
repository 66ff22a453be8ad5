package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// Session is a session of a user at a client.
type Session struct {
	ID            string           `json:"id"` // sid in tokens
	User          string           `json:"user"`
	Client        string           `json:"client"`
	Issuer        string           `json:"issuer,omitempty"` // id of the trusted issuer that signed the user in
	State         string           `json:"state"`            // active or ended
	EndedAt       *time.Time       `json:"ended_at,omitempty"`
	EndReason     string           `json:"end_reason,omitempty"` // see docs/errors.md
	CreatedAt     time.Time        `json:"created_at"`
	LastActiveAt  time.Time        `json:"last_active_at"` // to the minute
	ExpiresAt     time.Time        `json:"expires_at"`
	IdleExpiresAt *time.Time       `json:"idle_expires_at,omitempty"` // when it ends if it is not used before
	Generation    uint32           `json:"generation"`                // how often its refresh token was rotated
	ACR           string           `json:"acr,omitempty"`
	AuthTime      time.Time        `json:"auth_time"`
	ACRTimes      map[string]int64 `json:"acr_times,omitempty"` // in Unix seconds
	AMR           []string         `json:"amr"`
	Factors       []Factor         `json:"factors"`
	Device        Device           `json:"device"`
	Scope         []string         `json:"scope"`
	Audience      []string         `json:"audience"`
	Attributes    map[string]any   `json:"attributes,omitempty"` // only for the roles owner and admin
	Claims        map[string]any   `json:"claims,omitempty"`     // custom claims of the next access token; not in lists, and only for the roles owner and admin
	Events        []Event          `json:"events,omitempty"`     // the oldest first; not in lists
}

// Factor is an authentication factor that the user has proved.
type Factor struct {
	AMR    string    `json:"amr"`
	Issuer string    `json:"issuer"` // URL of the trusted issuer that asserted it
	At     time.Time `json:"at"`
	Counts bool      `json:"counts"` // its trusted issuer is not disabled, suspended or removed
}

// Device is the device that used a session last.
type Device struct {
	Name      string `json:"name,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	IP        string `json:"ip,omitempty"`
}

// SessionQuery selects sessions. The zero value selects all.
type SessionQuery struct {
	User, Client                string
	Issuer                      string // id of the trusted issuer that signed the user in
	State                       string // active or ended
	IP                          string // of the last activity
	CreatedAfter, CreatedBefore time.Time
	ActiveAfter, ActiveBefore   time.Time

	Limit  int    // sessions on a page, at most 500; default 50
	Cursor string // NextCursor of the previous page
}

func (q SessionQuery) values() url.Values {
	v := pageValues(q.Limit, q.Cursor)
	setParam(v, "user", q.User)
	setParam(v, "client", q.Client)
	setParam(v, "issuer", q.Issuer)
	setParam(v, "state", q.State)
	setParam(v, "ip", q.IP)
	setTimeParam(v, "created_after", q.CreatedAfter)
	setTimeParam(v, "created_before", q.CreatedBefore)
	setTimeParam(v, "active_after", q.ActiveAfter)
	setTimeParam(v, "active_before", q.ActiveBefore)
	return v
}

// Sessions are the sessions of tenants.
type Sessions struct{ c *connection }

// List returns the sessions of a tenant, the newest first.
func (s Sessions) List(ctx context.Context, tenant string, q SessionQuery) iter.Seq2[Session, error] {
	return allPages[Session](ctx, s.c, tenantPath(tenant, "sessions"), q.values())
}

// Page returns one page of the sessions of a tenant. It may have fewer items
// than the limit, or none, and still have a NextCursor.
func (s Sessions) Page(ctx context.Context, tenant string, q SessionQuery) (*Page[Session], error) {
	return getPage[Session](ctx, s.c, tenantPath(tenant, "sessions"), q.values())
}

// Get returns a session, with its events and claims.
func (s Sessions) Get(ctx context.Context, tenant, sid string) (*Session, error) {
	return s.one(ctx, request{method: http.MethodGet, path: tenantPath(tenant, "sessions", sid), repeat: true}, nil)
}

// Patch sets attributes of a session; nil removes one. The claims of the next access
// token follow from them.
func (s Sessions) Patch(ctx context.Context, tenant, sid string, attributes map[string]any) (*Session, error) {
	return s.one(ctx, changeRequest(http.MethodPatch, tenantPath(tenant, "sessions", sid), nil), Settings{"attributes": Settings(attributes).body()})
}

// Extend sets the absolute end of a session to the given duration from now, but not
// later than max_lifetime of its client allows.
func (s Sessions) Extend(ctx context.Context, tenant, sid string, by time.Duration) (*Session, error) {
	return s.one(ctx, request{method: http.MethodPost, path: tenantPath(tenant, "sessions", sid, "extend")}, Settings{"expires_in": by.String()})
}

// End ends a session. It does not change a session that has already ended.
func (s Sessions) End(ctx context.Context, tenant, sid string) error {
	_, err := s.c.call(ctx, changeRequest(http.MethodDelete, tenantPath(tenant, "sessions", sid), nil), nil, nil)
	return err
}

// EndAll ends the sessions of a user, a client, or a user at a client, and returns how
// many ended. If there are more than atMost, it ends none and returns an error with the
// code confirm.
func (s Sessions) EndAll(ctx context.Context, tenant, user, client string, atMost int) (int, error) {
	v := url.Values{"confirm": {strconv.Itoa(atMost)}}
	setParam(v, "user", user)
	setParam(v, "client", client)
	return endSessions(ctx, s.c, request{method: http.MethodDelete, path: tenantPath(tenant, "sessions"), query: v})
}

func endSessions(ctx context.Context, c *connection, r request) (int, error) {
	var done struct {
		Ended int `json:"ended"`
	}
	_, err := c.call(ctx, r, nil, &done)
	return done.Ended, err
}

func (s Sessions) one(ctx context.Context, r request, body any) (*Session, error) {
	session := &Session{}
	if _, err := s.c.call(ctx, r, body, session); err != nil {
		return nil, err
	}
	return session, nil
}

// maxLine is the maximum length of a line in an export or a stream of events.
const maxLine = 8 << 20

// Export returns all sessions that the query selects, in one response. The server
// records an audit event. An error ends the sequence, which is then incomplete.
func (s Sessions) Export(ctx context.Context, tenant string, q SessionQuery) iter.Seq2[Session, error] {
	q.Limit, q.Cursor = 0, ""
	r := request{method: http.MethodGet, path: tenantPath(tenant, "sessions", "export"), query: q.values()}
	r.header = http.Header{"Accept": {"application/jsonl"}}
	return func(yield func(Session, error) bool) {
		answer, err := s.c.open(ctx, r, s.c.withoutTimeout())
		if err != nil {
			yield(Session{}, err)
			return
		}
		defer answer.Body.Close()
		lines := bufio.NewScanner(answer.Body)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			var one Session
			d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
			d.UseNumber()
			if err := d.Decode(&one); err != nil {
				yield(Session{}, fmt.Errorf("%w: invalid JSON in the export: %w", latchkey.ErrUnavailable, err))
				return
			}
			if !yield(one, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Session{}, &noResponse{fmt.Errorf("the export is incomplete: %w", err)})
		}
	}
}
