package events

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// ErrInvalid is wrapped by every error that means that a webhook or a token is not from
// the tenant: answer 401 to a webhook, and 400 to a pushed token.
var ErrInvalid = errors.New("invalid event")

const (
	maxWebhook    = 1 << 20
	secretPrefix  = "whsec_"
	minSecretKey  = 24 // bytes, as Standard Webhooks requires
	webhookIDName = standardwebhooks.HeaderWebhookID
)

// Event is an event of a webhook. Members that the event does not have are empty.
type Event struct {
	ID        string    // the same in every repetition
	Type      string    // such as session.created or session.ended.signed_out
	Timestamp time.Time // when it happened
	Tenant    string
	Sequence  int64 // rises from event to event of a session

	// What the event is about. An event that ends sessions and has no Session ends all
	// sessions of the User, Client or Issuer, or of the whole tenant.
	Session string
	User    string // sub
	Client  string
	Issuer  string // id of a trusted issuer

	Details map[string]any // docs/events.md lists them for each type
}

// Webhooks verifies the webhooks of an event destination. It is safe for concurrent use.
type Webhooks struct {
	keys []*standardwebhooks.Webhook
}

// NewWebhooks returns a verifier for the secret of an event destination, which begins
// with whsec_. A webhook signed with any of several secrets is valid.
func NewWebhooks(secrets ...string) (*Webhooks, error) {
	if len(secrets) == 0 {
		return nil, errors.New("events: a secret is required")
	}
	w := &Webhooks{}
	for _, secret := range secrets {
		// The library would take an empty key, with which anybody can sign.
		encoded, prefixed := strings.CutPrefix(secret, secretPrefix)
		key, err := base64.StdEncoding.DecodeString(encoded)
		if !prefixed || err != nil || len(key) < minSecretKey {
			return nil, errors.New("events: invalid secret: expected whsec_ and the base64 of at least 24 bytes")
		}
		hook, err := standardwebhooks.NewWebhookRaw(key)
		if err != nil {
			return nil, fmt.Errorf("events: %w", err)
		}
		w.keys = append(w.keys, hook)
	}
	return w, nil
}

// Read reads and verifies a webhook. It rejects a webhook that was signed more than five
// minutes ago. The error wraps [ErrInvalid], unless the body could not be read.
func (w *Webhooks) Read(r *http.Request) (*Event, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxWebhook+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("events: read the webhook: %w", err)
	case len(body) > maxWebhook:
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrInvalid, maxWebhook)
	}
	return w.Verify(body, r.Header)
}

// Verify is Read, with the body and the header of a request.
func (w *Webhooks) Verify(body []byte, header http.Header) (*Event, error) {
	err := errors.New("no secret")
	for _, key := range w.keys {
		if err = key.Verify(body, header); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := wire.StrictObject(body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var message struct {
		Type      string
		Timestamp time.Time
		Data      struct {
			Tenant                        string
			Sequence                      int64
			Session, User, Client, Issuer string
			Details                       map[string]any
		}
	}
	if err := json.Unmarshal(body, &message); err != nil || message.Type == "" {
		return nil, fmt.Errorf("%w: the body is not an event", ErrInvalid)
	}
	d := message.Data
	return &Event{
		ID: header.Get(webhookIDName), Type: message.Type, Timestamp: message.Timestamp, Tenant: d.Tenant, Sequence: d.Sequence,
		Session: d.Session, User: d.User, Client: d.Client, Issuer: d.Issuer, Details: d.Details,
	}, nil
}
