package settings

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
)

// Kinds of event destinations.
const (
	DestinationWebhook = "webhook"  // Standard Webhooks 1.0
	DestinationPush    = "set_push" // security event tokens, RFC 8935
	DestinationPoll    = "set_poll" // security event tokens, RFC 8936
)

// Forms of the subject of a security event token.
const (
	SubjectComplex = "complex" // the session, the user and the tenant (SSF 1.0 §2)
	SubjectIssSub  = "iss_sub" // the user alone, as the CAEP interoperability profile has it
)

// DestinationSettings holds the settings of an event destination, which receives
// the events of a tenant. It is stored as one document, like ClientSettings.
type DestinationSettings struct {
	Type        string   `json:"type" yaml:"type" enum:"webhook,set_push,set_poll" doc:"How events are delivered: webhook (Standard Webhooks), set_push (RFC 8935) or set_poll (RFC 8936)"`
	URL         string   `json:"url,omitempty" yaml:"url" doc:"Where events are sent; not for set_poll"`
	Events      []string `json:"events,omitempty" yaml:"events" doc:"Types of events, or beginnings of types that end in a dot, such as session.ended.; default: every type"`
	Paused      bool     `json:"paused,omitempty" yaml:"paused" doc:"Nothing is sent; events wait in the log for as long as it keeps them"`
	Description string   `json:"description,omitempty" yaml:"description" doc:"For people"`

	Audience string `json:"audience,omitempty" yaml:"audience" doc:"The aud of security event tokens; default: the client, or the URL"`
	Subject  string `json:"subject,omitempty" yaml:"subject" enum:"complex,iss_sub" doc:"The form of sub_id in security event tokens: complex (default; session, user and tenant) or iss_sub (the user)"`
	Client   string `json:"client,omitempty" yaml:"client" doc:"The client that may poll, and manage the stream (SSF); required for set_poll"`

	AllowPrivateAddresses bool `json:"allow_private_addresses,omitempty" yaml:"allow_private_addresses" doc:"Its URL may be plain http, and may lead to a private address"`
}

// DestinationSpec is an event destination in a configuration file.
type DestinationSpec struct {
	ID                  string `yaml:"id"` // unique in its tenant
	DestinationSettings `yaml:",inline"`

	// Secret signs webhooks (whsec_ and base64 of 24 to 64 bytes), or is the value of
	// the header Authorization of set_push. It is sealed in its own column.
	Secret       string `json:"-" yaml:"secret"`
	SecretFile   string `json:"-" yaml:"secret_file"` // the loader reads it into Secret
	SecretStored bool   `json:"-" yaml:"-"`

	// KeepDisabled keeps a destination disabled that the server or its receiver has
	// disabled. Otherwise a change of its settings enables it.
	KeepDisabled bool `json:"-" yaml:"-"`

	Place
}

// WebhookSecretPrefix begins a secret that signs webhooks.
const WebhookSecretPrefix = "whsec_"

// MaxDestinations bounds the event destinations of a tenant.
const MaxDestinations = 1000

// receiverScopes are the scopes of clients that receive security events. One suffices to
// poll.
var receiverScopes = []string{"ssf.read", "ssf.manage"}

// eventPattern is a type of events, or the beginning of types.
var eventPattern = regexp.MustCompile(`^[a-z_]+(\.[a-z_]+)*\.?$`)

// destinations checks the event destinations of a tenant.
func (v *tenantValidation) destinations() {
	if len(v.EventDestinations) > MaxDestinations {
		v.Add(v.at+".event_destinations", "must be at most %d", MaxDestinations)
	}
	ids := seen{}
	for _, d := range v.EventDestinations {
		ids.note(&v.Faults, d.Path+".id", d.ID)
		v.destination(d.Path, d)
	}
}

func (v *tenantValidation) destination(at string, d DestinationSpec) {
	v.required(at+".id", d.ID, tenantIDRule)
	v.required(at+".type", d.Type, oneOf(DestinationWebhook, DestinationPush, DestinationPoll))
	if d.Type == DestinationPoll {
		if d.URL != "" {
			v.Add(at+".url", "must not be set: the receiver of set_poll calls the server")
		}
		v.required(at+".client", d.Client, text(64))
	} else {
		v.required(at+".url", d.URL, fetched(d.AllowPrivateAddresses))
	}
	v.notEmpty(at+".events", d.Events)
	v.each(at+".events", d.Events, func(s string) string {
		if len(s) > 64 || !eventPattern.MatchString(s) {
			return "must be a type of events, such as session.created, or the beginning of types, such as session.ended."
		}
		return ""
	})
	v.optional(at+".description", d.Description, text(255))
	v.optional(at+".audience", d.Audience, text(1024))
	v.optional(at+".subject", d.Subject, oneOf(SubjectComplex, SubjectIssSub))
	if d.Type == DestinationWebhook {
		for key, set := range map[string]bool{"audience": d.Audience != "", "subject": d.Subject != "", "client": d.Client != ""} {
			if set {
				v.Add(at+"."+key, "must not be set: it belongs to security event tokens")
			}
		}
	}
	v.optional(at+".client", d.Client, func(id string) string {
		i := slices.IndexFunc(v.Clients, func(c ClientSpec) bool { return c.ID == id })
		switch {
		case i < 0:
			return "is not a client of this tenant"
		case v.Clients[i].Public():
			return "must be a client with auth: secret"
		// A stored stream does not keep an operator from taking the scope away.
		case d.Type == DestinationPoll && !d.Stored && !slices.ContainsFunc(receiverScopes, func(scope string) bool { return slices.Contains(v.Clients[i].Scopes, scope) }):
			return "must be a client whose scopes list ssf.read or ssf.manage: without them, it may not poll"
		}
		return ""
	})
	v.destinationSecret(at, d)
}

// destinationSecret checks the secret of a destination. A secret whose file could
// not be read counts as set.
func (v *tenantValidation) destinationSecret(at string, d DestinationSpec) {
	path := at + ".secret"
	if d.SecretFile != "" {
		path += "_file"
	}
	given := d.Secret != "" || d.SecretFile != ""
	switch d.Type {
	case DestinationWebhook:
		if !given && !d.SecretStored {
			v.Add(path, "is missing: it signs the webhooks")
		}
		v.optional(path, d.Secret, webhookSecret)
	case DestinationPush:
		v.optional(path, d.Secret, printable(1, 4096))
	case DestinationPoll:
		if given {
			v.Add(path, "must not be set: the client of set_poll authenticates with an access token")
		}
	}
}

func webhookSecret(s string) string {
	encoded, prefixed := strings.CutPrefix(s, WebhookSecretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !prefixed || err != nil || len(key) < 24 || len(key) > 64 {
		return "must be whsec_ and the base64 of 24 to 64 random bytes"
	}
	return ""
}

// Matches reports whether a destination with these events gets one of a type.
func (d DestinationSettings) Matches(outward string) bool {
	if len(d.Events) == 0 {
		return true
	}
	return slices.ContainsFunc(d.Events, func(pattern string) bool {
		return pattern == outward || strings.HasSuffix(pattern, ".") && strings.HasPrefix(outward, pattern)
	})
}
