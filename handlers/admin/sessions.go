package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// Session is a session as the API returns it.
type Session struct {
	ID            string           `json:"id" doc:"sid in tokens"`
	User          string           `json:"user" doc:"The user's sub"`
	Client        string           `json:"client" doc:"The client_id"`
	Issuer        string           `json:"issuer,omitempty" doc:"The id of the trusted issuer that signed the user in; absent if it was removed"`
	State         string           `json:"state" enum:"active,ended" doc:"Whether the session has ended"`
	EndedAt       *time.Time       `json:"ended_at,omitempty" doc:"When it ended"`
	EndReason     string           `json:"end_reason,omitempty" doc:"Why it ended: see docs/errors.md"`
	CreatedAt     time.Time        `json:"created_at" doc:"When the user signed in"`
	LastActiveAt  time.Time        `json:"last_active_at" doc:"To the minute"`
	ExpiresAt     time.Time        `json:"expires_at" doc:"The end of its absolute lifetime"`
	IdleExpiresAt *time.Time       `json:"idle_expires_at,omitempty" doc:"When it ends if it is not used before"`
	Generation    uint32           `json:"generation" doc:"How often its refresh token was rotated"`
	ACR           string           `json:"acr,omitempty" doc:"The strongest class of assurance that it satisfies"`
	AuthTime      time.Time        `json:"auth_time" doc:"When acr was last fully satisfied"`
	ACRTimes      map[string]int64 `json:"acr_times,omitempty" doc:"When each class of assurance was last fully satisfied, in Unix seconds"`
	AMR           []string         `json:"amr" nullable:"false" doc:"The methods that the user has proved (RFC 8176)"`
	Factors       []Factor         `json:"factors" nullable:"false" doc:"Each factor that the user has proved"`
	Device        Device           `json:"device" doc:"The device that used it last"`
	Scope         []string         `json:"scope" nullable:"false" doc:"The granted scopes"`
	Audience      []string         `json:"audience" nullable:"false" doc:"The granted targets"`
	Attributes    map[string]any   `json:"attributes,omitempty" doc:"Session attributes; present only for the roles owner and admin"`
	Claims        map[string]any   `json:"claims,omitempty" doc:"The custom claims of its next access token; present only in get-session, for the roles owner and admin"`
	Events        []Event          `json:"events,omitempty" doc:"Its events, the oldest first; present only in get-session"`
}

// Factor is an authentication factor that the user has proved.
type Factor struct {
	AMR    string    `json:"amr" doc:"The method (RFC 8176)"`
	Issuer string    `json:"issuer" doc:"The URL of the trusted issuer that asserted it"`
	At     time.Time `json:"at" doc:"When the factor was proved"`
	Counts bool      `json:"counts" doc:"It counts: its trusted issuer is not disabled, suspended or removed"`
}

// Device is the device that used a session last. It is empty if the tenant stores no
// devices.
type Device struct {
	Name      string `json:"name,omitempty" doc:"The name that the app gave it at the sign-in"`
	UserAgent string `json:"user_agent,omitempty" doc:"The User-Agent header"`
	IP        string `json:"ip,omitempty" doc:"Its IP address"`
}

func (c *Caller) seesAttributes() bool { return c.may(admins, "") == nil }

func newSession(c *Caller, v oauth.SessionView, issuers map[string]string) Session {
	row := v.Row
	s := Session{
		ID: row.ID.String(), User: row.Subject, Client: row.ClientID, Issuer: issuers[row.IssuerID], State: "active",
		CreatedAt: row.CreatedAt.UTC(), LastActiveAt: row.LastActiveAt.UTC().Truncate(time.Minute), ExpiresAt: row.AbsoluteExpiry.UTC(),
		Generation: row.Refresh.Generation, ACR: v.ACR, AuthTime: v.AuthTime, ACRTimes: v.ACRTimes, AMR: append([]string{}, v.AMR...),
		Factors: []Factor{}, Device: Device{v.DeviceName, v.UserAgent, v.IP},
		Scope: append([]string{}, row.Scope...), Audience: append([]string{}, row.Audience...),
	}
	if !row.IdleExpiry.IsZero() {
		idle := row.IdleExpiry.UTC().Truncate(time.Minute)
		s.IdleExpiresAt = &idle
	}
	if v.Ended {
		s.State, s.EndReason = "ended", string(v.EndReason)
		if !v.EndedAt.IsZero() {
			ended := v.EndedAt.UTC()
			s.EndedAt = &ended
		}
	}
	for _, f := range v.Factors {
		s.Factors = append(s.Factors, Factor{f.AMR, f.Issuer, f.AuthTime.UTC(), true})
	}
	for _, f := range v.Lapsed {
		s.Factors = append(s.Factors, Factor{f.AMR, f.Issuer, f.AuthTime.UTC(), false})
	}
	if c.seesAttributes() {
		s.Attributes = row.Attributes
	}
	return s
}

// SessionSearch selects the sessions that Sessions returns. Empty fields do not filter.
type SessionSearch struct {
	User, Client, Issuer, State, IP                        string
	CreatedAfter, CreatedBefore, ActiveAfter, ActiveBefore time.Time
	Cursor                                                 string
	Limit                                                  int
}

func (q SessionSearch) filter(tenant string) (models.SessionFilter, error) {
	f := models.SessionFilter{
		Tenant: tenant, User: q.User, Client: q.Client, CreatedAfter: q.CreatedAfter, CreatedBefore: q.CreatedBefore,
		ActiveAfter: q.ActiveAfter, ActiveBefore: q.ActiveBefore, Limit: q.Limit,
	}
	if q.State != "" {
		live := q.State == "active"
		f.Live = &live
	}
	if q.IP != "" {
		ip, err := netip.ParseAddr(q.IP)
		if err != nil {
			return f, invalidParameter("ip", "must be an IP address")
		}
		f.IP = ip.Unmap().String()
	}
	if q.Cursor != "" {
		after, err := models.ParseSessionCursor(q.Cursor)
		if err != nil {
			return f, invalidParameter("cursor", "is not a cursor of this list: send next_cursor of the previous page, or leave it out")
		}
		f.After = after
	}
	return f, nil
}

// issuerIDs maps the ids of a tenant's issuer rows to the ids of their entries.
func (s *Service) issuerIDs(ctx context.Context, tenant string) (map[string]string, error) {
	stored, _, err := s.Store.StoredIssuers(ctx, tenant, models.Page{Limit: 1 << 20})
	ids := map[string]string{}
	for _, i := range stored {
		ids[i.Row.ID] = i.Row.EntryID
	}
	return ids, err
}

// Sessions returns a page of the sessions of a tenant, the newest first.
func (s *Service) Sessions(ctx context.Context, c *Caller, tenant string, q SessionSearch) (*List[Session], error) {
	if err := c.may(everyone, tenant); err != nil {
		return nil, err
	}
	if err := s.tenantExists(ctx, tenant); err != nil {
		return nil, err
	}
	f, err := q.filter(tenant)
	if err != nil {
		return nil, err
	}
	issuers, err := s.issuerIDs(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if q.Issuer != "" {
		for row, entry := range issuers {
			if entry == q.Issuer {
				f.Issuer = row
			}
		}
		if f.Issuer == "" {
			return nil, invalidParameter("issuer", "is not the id of a trusted issuer of the tenant")
		}
	}
	rows, next, err := s.Store.SearchSessions(ctx, f)
	if err != nil {
		return nil, err
	}
	views, err := s.OAuth.ViewSessions(ctx, tenant, rows...)
	if err != nil {
		return nil, err
	}
	list := &List[Session]{Items: make([]Session, len(views))}
	for i, v := range views {
		list.Items[i] = newSession(c, v, issuers)
	}
	if next != (models.SessionCursor{}) {
		list.NextCursor = next.String()
	}
	return list, nil
}

func (s *Service) sessionRow(ctx context.Context, tenant, sid string) (*models.Session, error) {
	id, err := models.ParseSessionID(sid)
	if err != nil {
		return nil, ErrNotFound
	}
	return s.Store.Session(ctx, tenant, id)
}

// Session returns a session with its events and, if the caller may see them, its
// attributes and claims.
func (s *Service) Session(ctx context.Context, c *Caller, tenant, sid string) (*Session, error) {
	if err := c.may(everyone, tenant); err != nil {
		return nil, err
	}
	row, err := s.sessionRow(ctx, tenant, sid)
	if err != nil {
		return nil, err
	}
	return s.showSession(ctx, c, row)
}

func (s *Service) showSession(ctx context.Context, c *Caller, row *models.Session) (*Session, error) {
	issuers, err := s.issuerIDs(ctx, row.TenantID)
	if err != nil {
		return nil, err
	}
	views, err := s.OAuth.ViewSessions(ctx, row.TenantID, row)
	if err != nil {
		return nil, err
	}
	shown := newSession(c, views[0], issuers)
	if c.seesAttributes() && !views[0].Ended {
		if shown.Claims, err = s.OAuth.SessionClaims(ctx, row); err != nil {
			return nil, err
		}
	}
	events, err := s.Store.SessionEvents(ctx, row.TenantID, row.ID)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		shown.Events = append(shown.Events, c.newEvent(models.ListedEvent{Event: e}, issuers))
	}
	return &shown, nil
}

// EndSession ends a session. It does not change a session that has already ended.
func (s *Service) EndSession(ctx context.Context, c *Caller, tenant, sid string) error {
	if err := c.may(support, tenant); err != nil {
		return err
	}
	row, err := s.sessionRow(ctx, tenant, sid)
	if err != nil {
		return err
	}
	return s.Store.EndSession(models.WithActor(ctx, c.Actor()), row, s.Store.Now(), session.RevokedByAdmin)
}

// Ended is the number of sessions that an operation ended.
type Ended struct {
	Ended int `json:"ended" doc:"The number of sessions that this request ended"`
}

// EndSessions ends every live session of a user, a client, or a user at a client. If
// there are more than `most`, it ends none.
func (s *Service) EndSessions(ctx context.Context, c *Caller, tenant, user, client string, most int) (*Ended, error) {
	if err := c.may(support, tenant); err != nil {
		return nil, err
	}
	if err := s.tenantExists(ctx, tenant); err != nil {
		return nil, err
	}
	if user == "" && client == "" {
		return nil, invalid(Fault{Parameter: "user", Detail: "is required, unless client is given"})
	}
	n, err := s.Store.EndFound(models.WithActor(ctx, c.Actor()), tenant, user, client, most, session.RevokedByAdmin)
	var many *models.TooManySessionsError
	if errors.As(err, &many) {
		return nil, s.tooMany(ctx, tenant, user, client, most)
	}
	if err != nil {
		return nil, err
	}
	return &Ended{n}, nil
}

// tooMany returns the error of ending more sessions than the caller confirmed, with
// their number.
func (s *Service) tooMany(ctx context.Context, tenant, user, client string, most int) error {
	n, err := s.Store.CountLive(ctx, tenant, user, client)
	number := strconv.Itoa(n)
	switch {
	case errors.Is(err, models.ErrTooManyStored):
		number = "more than " + strconv.Itoa(max(most, n))
	case err != nil:
		return err
	case n > models.ManySessions:
		number = "more than " + strconv.Itoa(models.ManySessions)
	}
	return conflict("confirm", fmt.Sprintf("%s sessions would end, but confirm is %d; none was ended. To end them, send their number, or a larger one, as confirm", number, most))
}

// MaxConfirm is the maximum number of sessions that one call of EndSessions ends.
const MaxConfirm = 100_000

// CountSessions returns how many live sessions a user, a client, or a user at a client
// has. A number greater than models.ManySessions means more than that. It returns
// models.ErrTooManyStored if it cannot know the number.
func (s *Service) CountSessions(ctx context.Context, c *Caller, tenant, user, client string) (int, error) {
	if err := c.may(everyone, tenant); err != nil {
		return 0, err
	}
	if err := s.tenantExists(ctx, tenant); err != nil {
		return 0, err
	}
	if user == "" && client == "" {
		return 0, invalid(Fault{Parameter: "user", Detail: "is required, unless client is given"})
	}
	return s.Store.CountLive(ctx, tenant, user, client)
}

// EndUserSessions ends every live session of a user, and refuses the client tokens
// that were issued before.
func (s *Service) EndUserSessions(ctx context.Context, c *Caller, tenant, sub string) (*Ended, error) {
	if err := c.may(support, tenant); err != nil {
		return nil, err
	}
	if _, err := s.Store.User(ctx, tenant, sub); err != nil {
		return nil, err
	}
	n, err := s.Store.SignOutUser(models.WithActor(ctx, c.Actor()), tenant, sub, s.Store.Now(), session.RevokedByAdmin)
	if err != nil {
		return nil, err
	}
	return &Ended{n}, nil
}

type sessionBody struct {
	Attributes map[string]any `yaml:"attributes"`

	settings.Place
}

// PatchSession sets the session attributes that the body contains and removes those
// that are null. The claims of the next access token follow from them.
func (s *Service) PatchSession(ctx context.Context, c *Caller, tenant, sid string, body []byte) (*Session, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	var b sessionBody
	if err := decodeBody(body, "", &b); err != nil {
		return nil, err
	}
	if faults := settings.ValidateSessionAttributes("attributes", b.Attributes); len(faults) > 0 {
		return nil, invalidBody("", faults)
	}
	row, err := s.sessionRow(ctx, tenant, sid)
	if err != nil {
		return nil, err
	}
	row, err = s.Store.ChangeSessionAttributes(ctx, row, func(stored map[string]any) map[string]any {
		changed := maps.Clone(stored)
		if changed == nil {
			changed = map[string]any{}
		}
		maps.Copy(changed, b.Attributes)
		maps.DeleteFunc(changed, func(_ string, v any) bool { return v == nil })
		return changed
	}, c.Actor())
	if errors.Is(err, models.ErrEnded) {
		return nil, conflict("session_ended", "The session has ended")
	}
	if err != nil {
		return nil, err
	}
	return s.showSession(ctx, c, row)
}

type extendBody struct {
	ExpiresIn *settings.Duration `yaml:"expires_in"`

	settings.Place
}

// ExtendSession sets the absolute end of a session to expires_in from now, but not
// later than max_lifetime of its client allows.
func (s *Service) ExtendSession(ctx context.Context, c *Caller, tenant, sid string, body []byte) (*Session, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	var b extendBody
	if err := decodeBody(body, "", &b); err != nil {
		return nil, err
	}
	if b.ExpiresIn == nil || *b.ExpiresIn <= 0 {
		return nil, invalid(Fault{Pointer: "/expires_in", Detail: `must be a duration such as "24h"`})
	}
	row, err := s.sessionRow(ctx, tenant, sid)
	if err != nil {
		return nil, err
	}
	row, err = s.OAuth.ExtendSessionBy(ctx, row, b.ExpiresIn.Std(), c.Key.Name)
	var refused *oauth.Error
	if errors.As(err, &refused) {
		return nil, conflict(string(refused.Reason), refused.Description)
	}
	if err != nil {
		return nil, err
	}
	return s.showSession(ctx, c, row)
}

// ExportSessions calls write for each session that the search finds, with one line of
// JSON. It writes an audit event.
func (s *Service) ExportSessions(ctx context.Context, c *Caller, tenant string, q SessionSearch, write func(line []byte) error) error {
	if err := s.MayExport(ctx, c, tenant, q); err != nil {
		return err
	}
	if err := s.Store.AddAudit(ctx, models.EventSessionsExported, tenant, c.Actor(), nil); err != nil {
		return err
	}
	for q.Limit = 500; ; {
		list, err := s.Sessions(ctx, c, tenant, q)
		if err != nil {
			return err
		}
		for i := range list.Items {
			line, err := json.Marshal(list.Items[i])
			if err != nil {
				return err
			}
			if err := write(append(line, '\n')); err != nil {
				return err
			}
		}
		if list.NextCursor == "" {
			return nil
		}
		q.Cursor = list.NextCursor
	}
}

// MayExport returns an error if ExportSessions would not begin.
func (s *Service) MayExport(ctx context.Context, c *Caller, tenant string, q SessionSearch) error {
	if err := c.may(admins, tenant); err != nil {
		return err
	}
	if err := s.tenantExists(ctx, tenant); err != nil {
		return err
	}
	_, err := q.filter(tenant)
	return err
}
