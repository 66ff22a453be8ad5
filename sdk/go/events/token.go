package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// typToken is the header `typ` of security event tokens (RFC 8417 §2.3).
const typToken = "secevent+jwt"

// Types of security events that Latchkey sends.
const (
	SessionRevoked       = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	SessionEstablished   = "https://schemas.openid.net/secevent/caep/event-type/session-established"
	AssuranceLevelChange = "https://schemas.openid.net/secevent/caep/event-type/assurance-level-change"
	StreamVerified       = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	StreamUpdated        = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
)

// SecurityEvent is the event of a verified security event token.
type SecurityEvent struct {
	ID       string // jti, the same in every repetition
	Type     string // such as SessionRevoked
	Issuer   string
	IssuedAt time.Time
	Happened time.Time // event_timestamp; zero: the event has none

	// What the event is about. An event without a Session is about every session of what
	// it names.
	Tenant  string
	Session string
	User    string // sub at the issuer
	Client  string
	Stream  string // of StreamVerified and StreamUpdated

	Members map[string]any // of the event, such as initiating_entity
}

// Options configure a [Verifier]. The zero value is valid.
type Options struct {
	HTTPClient *http.Client     // nil: a client with a timeout of 10 s
	Now        func() time.Time // nil: time.Now
}

// Verifier verifies security event tokens of one issuer for one receiver. It is safe for
// concurrent use. Make one for the whole program: it keeps the keys of the issuer.
type Verifier struct {
	keys     *wire.KeySource
	audience string
	now      func() time.Time
}

// NewVerifier returns a verifier. issuer is the issuer URL of a tenant. audience is the
// aud of the stream: the client id of the receiver, unless the operator has set another.
func NewVerifier(issuer, audience string, o Options) (*Verifier, error) {
	if audience == "" {
		return nil, errors.New("events: the audience is required") // otherwise tokens for other receivers would pass
	}
	if o.HTTPClient == nil {
		o.HTTPClient = &http.Client{Timeout: 10 * time.Second}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	i, err := wire.NewIssuer(issuer, o.HTTPClient, o.Now)
	if err != nil {
		return nil, err
	}
	return &Verifier{wire.NewKeySource(i), audience, o.Now}, nil
}

// claims are the claims of a security event token.
type claims struct {
	Issuer   string                     `json:"iss"`
	ID       string                     `json:"jti"`
	IssuedAt int64                      `json:"iat"`
	Audience json.RawMessage            `json:"aud"`
	Subject  json.RawMessage            `json:"sub_id"`
	Events   map[string]json.RawMessage `json:"events"`
}

// tolerance is how far the clock of the issuer may be ahead.
const tolerance = time.Minute

// Verify checks a security event token and returns its event. The error wraps
// [ErrInvalid] if the token must be refused, and latchkey.ErrUnavailable if it could not
// be checked: answer 503, so that it is sent again. A token has no expiry.
func (v *Verifier) Verify(ctx context.Context, token string) (*SecurityEvent, error) {
	if len(token) > wire.MaxToken {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrInvalid, wire.MaxToken)
	}
	c, err := wire.ParseCompact(strings.TrimSpace(token))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !c.Header.IsType(typToken) {
		return nil, fmt.Errorf("%w: typ does not match: expected %s", ErrInvalid, typToken)
	}
	var said claims
	if err := json.Unmarshal(c.Payload, &said); err != nil {
		return nil, fmt.Errorf("%w: malformed claims", ErrInvalid)
	}
	switch {
	case said.Issuer != v.keys.URL:
		return nil, fmt.Errorf("%w: iss does not match: expected %q", ErrInvalid, v.keys.URL)
	case !names(said.Audience, v.audience):
		return nil, fmt.Errorf("%w: aud does not match: expected %q", ErrInvalid, v.audience)
	case said.ID == "" || said.IssuedAt <= 0:
		return nil, fmt.Errorf("%w: jti and iat are required", ErrInvalid)
	case time.Unix(said.IssuedAt, 0).After(v.now().Add(tolerance)):
		return nil, fmt.Errorf("%w: iat is in the future", ErrInvalid)
	case len(said.Events) != 1:
		return nil, fmt.Errorf("%w: events must have exactly one member", ErrInvalid)
	}
	key, err := v.keys.Key(ctx, c.Header.KeyID)
	switch {
	case errors.Is(err, wire.ErrInvalidToken):
		return nil, fmt.Errorf("%w: kid names no key of the issuer", ErrInvalid)
	case err != nil:
		return nil, err
	}
	if err := c.Verify(key); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return said.event()
}

// event returns the event of verified claims.
func (c *claims) event() (*SecurityEvent, error) {
	e := &SecurityEvent{ID: c.ID, Issuer: c.Issuer, IssuedAt: time.Unix(c.IssuedAt, 0).UTC()}
	for name, text := range c.Events {
		var times struct {
			Happened int64 `json:"event_timestamp"`
		}
		if json.Unmarshal(text, &e.Members) != nil || e.Members == nil || json.Unmarshal(text, &times) != nil {
			return nil, fmt.Errorf("%w: the event is not an object", ErrInvalid)
		}
		if e.Type = name; times.Happened > 0 {
			e.Happened = time.Unix(times.Happened, 0).UTC()
		}
	}
	return e, e.readSubject(c.Subject)
}

// subjectID is a subject identifier (RFC 9493).
type subjectID struct {
	Format  string     `json:"format"`
	ID      string     `json:"id"`
	Issuer  string     `json:"iss"`
	Subject string     `json:"sub"`
	Session *subjectID `json:"session"`
	User    *subjectID `json:"user"`
	Tenant  *subjectID `json:"tenant"`
	Client  *subjectID `json:"application"`
}

// readSubject reads sub_id. It rejects formats that Latchkey does not send, because an
// event whose subject is not understood must not count as one about everybody.
func (e *SecurityEvent) readSubject(text json.RawMessage) error {
	var s subjectID
	if json.Unmarshal(text, &s) != nil {
		return fmt.Errorf("%w: sub_id is missing or malformed", ErrInvalid)
	}
	switch s.Format {
	case "opaque":
		e.Stream = s.ID
	case "iss_sub":
		user := s
		s = subjectID{Format: "complex", User: &user}
		fallthrough
	case "complex":
		for _, part := range []struct {
			id   *subjectID
			text *string
		}{{s.Session, &e.Session}, {s.Tenant, &e.Tenant}, {s.Client, &e.Client}} {
			if part.id != nil {
				if part.id.Format != "opaque" || part.id.ID == "" {
					return fmt.Errorf("%w: sub_id has a member of an unknown format", ErrInvalid)
				}
				*part.text = part.id.ID
			}
		}
		if u := s.User; u != nil {
			if u.Format != "iss_sub" || u.Issuer != e.Issuer || u.Subject == "" {
				return fmt.Errorf("%w: the user in sub_id is not one of the issuer", ErrInvalid)
			}
			e.User = u.Subject
		}
		if e.Session+e.User+e.Tenant+e.Client == "" {
			return fmt.Errorf("%w: sub_id names nothing", ErrInvalid)
		}
	default:
		return fmt.Errorf("%w: sub_id has the unknown format %q", ErrInvalid, s.Format)
	}
	return nil
}

// names reports whether aud, a string or a list, names the audience.
func names(aud json.RawMessage, audience string) bool {
	var one string
	if json.Unmarshal(aud, &one) == nil {
		return one == audience
	}
	var list []string
	if json.Unmarshal(aud, &list) != nil {
		return false
	}
	return slices.Contains(list, audience)
}
