package latchkey

import (
	"encoding/json"
	"strconv"
	"time"
)

// SessionDetails are a session as the session API shows it: to its user, or to
// the app's back end. Texts such as the device's name were chosen by the user:
// escape them.
type SessionDetails struct {
	ID            string          `json:"id"`
	Subject       string          `json:"sub"`
	ClientID      string          `json:"client_id"`
	Status        string          `json:"status"`  // active or ended
	Current       bool            `json:"current"` // it is the bearer's own
	CreatedAt     Time            `json:"created_at"`
	AuthTime      Time            `json:"auth_time"`       // when ACR was last proved in full
	LastActiveAt  Time            `json:"last_active_at"`  // to the minute
	ExpiresAt     Time            `json:"expires_at"`      // it ends then at the latest
	IdleExpiresAt *Time           `json:"idle_expires_at"` // to the minute; nil: never
	EndedAt       *Time           `json:"ended_at"`        // nil: it has not, or nobody knows when
	EndReason     string          `json:"end_reason"`      // such as signed_out; empty: it has not ended
	ACR           string          `json:"acr"`             // empty: none
	ACRTimes      map[string]Time `json:"acr_times"`       // each class that it reaches, and when it was last proved in full
	AMR           []string        `json:"amr"`
	Factors       []Factor        `json:"factors"`
	Device        Device          `json:"device"`
	Scope         string          `json:"scope"`
	Attributes    map[string]any  `json:"attributes"`
	Claims        map[string]any  `json:"claims"` // custom ones that a token would carry now
}

// Active says whether the session had not ended when it was read.
func (d *SessionDetails) Active() bool { return d.Status == "active" }

// Factor is one proof of who the user is.
type Factor struct {
	AMR      string `json:"amr"` // RFC 8176
	Issuer   string `json:"issuer"`
	AuthTime Time   `json:"auth_time"`
}

// Device is what is known of where a session is.
type Device struct {
	Name      string `json:"name"`
	UserAgent string `json:"user_agent"`
	IP        string `json:"ip"`
}

// Time is a moment, in JSON as Unix seconds.
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
