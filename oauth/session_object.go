package oauth

import (
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/session"
)

// sessionObject is a session as its user and the app's back end see it. Times
// are Unix seconds. A value that is unknown or does not exist is null.
type sessionObject struct {
	ID            string             `json:"id"`
	Subject       string             `json:"sub"`
	ClientID      string             `json:"client_id"`
	Status        string             `json:"status"`  // active, ended
	Current       bool               `json:"current"` // the bearer's own
	CreatedAt     int64              `json:"created_at"`
	AuthTime      int64              `json:"auth_time"`
	LastActiveAt  int64              `json:"last_active_at"` // to the minute
	ExpiresAt     int64              `json:"expires_at"`
	IdleExpiresAt *int64             `json:"idle_expires_at"` // to the minute
	EndedAt       *int64             `json:"ended_at"`
	EndReason     *session.EndReason `json:"end_reason"`
	ACR           *string            `json:"acr"`
	ACRTimes      map[string]int64   `json:"acr_times"` // every class that it reaches, and when the class was last proved in full
	AMR           []string           `json:"amr"`
	Factors       []factorObject     `json:"factors"`
	Device        deviceObject       `json:"device"`
	Scope         string             `json:"scope"`
	Attributes    map[string]any     `json:"attributes"`
	Claims        map[string]any     `json:"claims,omitzero"` // absent: not requested, or the session belongs to another client
}

// factorObject is a factor of a sessionObject.
type factorObject struct {
	AMR      string `json:"amr"`
	Issuer   string `json:"issuer"`
	AuthTime int64  `json:"auth_time"`
}

// deviceObject is the device of a sessionObject.
type deviceObject struct {
	Name      string `json:"name"`
	UserAgent string `json:"user_agent"`
	IP        string `json:"ip"`
}

// describe returns the session as the caller sees it, without custom claims.
func (who *caller) describe(row *models.Session, now time.Time) sessionObject {
	proves := who.tenant.sessionAssurance(row)
	states := proves.best()
	o := sessionObject{
		ID: row.ID.String(), Subject: row.Subject, ClientID: row.ClientID, Status: "active", Current: who.own != nil && row.ID == who.own.ID,
		CreatedAt: row.CreatedAt.Unix(), AuthTime: states.authTime,
		LastActiveAt: row.LastActiveAt.Truncate(time.Minute).Unix(), ExpiresAt: row.AbsoluteExpiry.Unix(), IdleExpiresAt: unixOrNull(row.IdleExpiry.Truncate(time.Minute)),
		AMR: append([]string{}, states.amr...), ACR: orNull(states.acr), ACRTimes: states.times, Factors: []factorObject{},
		Device: who.tenant.device(row),
		Scope:  strings.Join(row.Scope, " "), Attributes: row.Attributes,
	}
	if at, why, ended := who.tenant.ended(row, now); ended {
		o.Status, o.EndedAt, o.EndReason = "ended", unixOrNull(at), orNull(why)
	}
	for _, f := range proves.factors {
		o.Factors = append(o.Factors, factorObject{f.AMR, f.Issuer, f.AuthTime.Unix()})
	}
	if o.Attributes == nil {
		o.Attributes = map[string]any{}
	}
	return o
}

// describeWithClaims adds the custom claims that a token minted now would have.
// Only the session's own client, which configured them, gets them.
func (who *caller) describeWithClaims(b *expr.Budget, row *models.Session, now time.Time) sessionObject {
	o := who.describe(row, now)
	if who.client != nil && who.client.ID == row.ClientID {
		o.Claims = map[string]any{}
		addCustomClaims(b, who.client, row, who.tenant.sessionAssurance(row).best(), o.Claims)
	}
	return o
}

// ended reports whether the session has ended, either by its row or because a
// client or trusted issuer is disabled, which the row shows only after it is
// swept. The time is zero if this node does not know it.
func (t *Tenant) ended(row *models.Session, now time.Time) (at time.Time, why session.EndReason, ended bool) {
	if at, why, ended = row.Lifetime().Ended(now); ended {
		return at, why, true
	}
	client, entry := t.client(row.ClientID), t.issuerEntry(row.IssuerID)
	switch {
	case client != nil && client.alive(row, now):
		return time.Time{}, "", false
	case entry == nil:
		return time.Time{}, session.IssuerDisabled, true
	case !entry.Enabled() || row.CreatedAt.Before(entry.SessionsValidFrom.Time):
		return entry.SessionsValidFrom.Time, session.IssuerDisabled, true
	case client == nil:
		return time.Time{}, session.ClientDisabled, true
	default:
		return client.validFrom(), session.ClientDisabled, true
	}
}

// unixOrNull returns the Unix time of t, or nil if t is zero.
func unixOrNull(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return orNull(t.Unix())
}

// orNull returns a pointer to v, or nil if v is the zero value.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
