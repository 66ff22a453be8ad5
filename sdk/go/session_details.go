package latchkey

import (
	"encoding/json"
	"strconv"
	"time"
)

// SessionDetails describe a session, for its user or for the app's back end.
// Users choose texts such as the device's name: escape them.
type SessionDetails struct {
	ID            string          `json:"id"`
	Subject       string          `json:"sub"`
	ClientID      string          `json:"client_id"`
	Status        string          `json:"status"`  // active or ended
	Current       bool            `json:"current"` // this is the session of the token that was sent
	CreatedAt     Time            `json:"created_at"`
	AuthTime      Time            `json:"auth_time"`       // when ACR was last proved in full
	LastActiveAt  Time            `json:"last_active_at"`  // rounded to the minute
	ExpiresAt     Time            `json:"expires_at"`      // latest end of the session
	IdleExpiresAt *Time           `json:"idle_expires_at"` // rounded to the minute; nil: no idle timeout
	EndedAt       *Time           `json:"ended_at"`        // nil: not ended, or the time is unknown
	EndReason     string          `json:"end_reason"`      // such as signed_out; empty: not ended
	ACR           string          `json:"acr"`             // empty: none
	ACRTimes      map[string]Time `json:"acr_times"`       // when each class was last proved in full
	AMR           []string        `json:"amr"`
	Factors       []Factor        `json:"factors"`
	Device        Device          `json:"device"`
	Scope         string          `json:"scope"`
	Attributes    map[string]any  `json:"attributes"`
	Claims        map[string]any  `json:"claims"` // custom claims that a token would contain now
}

// Active reports whether the session was live when it was read.
func (d *SessionDetails) Active() bool { return d.Status == "active" }

// Factor is an authentication method that the user has proved.
type Factor struct {
	AMR      string `json:"amr"` // RFC 8176
	Issuer   string `json:"issuer"`
	AuthTime Time   `json:"auth_time"`
}

// Device describes where a session is used.
type Device struct {
	Name      string `json:"name"`
	UserAgent string `json:"user_agent"`
	IP        string `json:"ip"`
}

// Time is encoded in JSON as Unix seconds.
type Time struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(text []byte) error {
	var unix int64
	if err := json.Unmarshal(text, &unix); err != nil {
		return err
	}
	t.Time = time.Unix(unix, 0)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) { return strconv.AppendInt(nil, t.Unix(), 10), nil }
