package oauth

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/delivery"
	"github.com/latchkey/latchkey/settings"
)

// Delivery methods of an event stream (SSF 1.0 §8.1.1).
const (
	methodPush = "urn:ietf:rfc:8935"
	methodPoll = "urn:ietf:rfc:8936"
)

const (
	// maxClientStreams bounds how many event streams one client may have.
	maxClientStreams = 20
	// maxStreamDescription is the length in bytes to which a description is cut.
	maxStreamDescription = 255
	// changeAttempts is how often a change of a stream is computed, if each time
	// another request changes the stream before it is written.
	changeAttempts = 5
)

// streamDelivery is how the events of a stream are delivered.
type streamDelivery struct {
	Method              string `json:"method" yaml:"method"`
	EndpointURL         string `json:"endpoint_url,omitempty" yaml:"endpoint_url"`
	AuthorizationHeader string `json:"-" yaml:"authorization_header"` // a secret, which no answer contains

	settings.Place `json:"-"`
}

// streamConfig is the configuration of an event stream (SSF 1.0 §8.1.1).
type streamConfig struct {
	StreamID        string         `json:"stream_id"`
	Issuer          string         `json:"iss"`
	Audience        string         `json:"aud"`
	EventsSupported []string       `json:"events_supported"`
	EventsRequested []string       `json:"events_requested"`
	EventsDelivered []string       `json:"events_delivered"`
	Delivery        streamDelivery `json:"delivery"`
	MinVerification int64          `json:"min_verification_interval"`
	Description     string         `json:"description,omitempty"`
}

// streamRequest is the body of a request that creates or changes a stream.
type streamRequest struct {
	StreamID        string         `yaml:"stream_id"`
	Issuer          string         `yaml:"iss"`
	Audience        any            `yaml:"aud"`
	EventsSupported []string       `yaml:"events_supported"`
	EventsRequested []string       `yaml:"events_requested"`
	EventsDelivered []string       `yaml:"events_delivered"`
	Delivery        streamDelivery `yaml:"delivery"`
	MinVerification int64          `yaml:"min_verification_interval"`
	Description     string         `yaml:"description"`

	settings.Place
}

// has reports whether the request gives a member a value.
func (q *streamRequest) has(name string) bool { return q.Written[name] }

// pollURL returns the URL at which the events of a stream are polled.
func pollURL(t *Tenant, id string) string { return t.Issuer + "/ssf/poll/" + id }

// describeStream returns the configuration of a stream.
func describeStream(t *Tenant, row *models.Destination) streamConfig {
	delivered := delivery.Delivered(row.Settings)
	config := streamConfig{
		StreamID: row.ID, Issuer: t.Issuer, Audience: delivery.Audience(row),
		EventsSupported: delivery.EventTypes, EventsRequested: delivered, EventsDelivered: delivered,
		Delivery:        streamDelivery{Method: methodPush, EndpointURL: row.Settings.URL},
		MinVerification: int64(verificationInterval / time.Second), Description: row.Settings.Description,
	}
	if row.Settings.Type == settings.DestinationPoll {
		config.Delivery = streamDelivery{Method: methodPoll, EndpointURL: pollURL(t, row.ID)}
	}
	return config
}

// isStream reports whether a destination is an event stream of the client.
func (c *Client) isStream(d settings.DestinationSettings) bool {
	return d.Client == c.ID && d.Type != settings.DestinationWebhook
}

// ReadStream serves GET {iss}/ssf/stream: one event stream of the client, or all.
func (s *Server) ReadStream(w http.ResponseWriter, r *http.Request, call *Call) {
	s.serve(w, r, call, func(ctx context.Context) error {
		c, id, err := s.queryStream(ctx, call, r, ScopeSSFRead, ScopeSSFManage)
		if err != nil {
			return err
		}
		if id != "" {
			row, err := s.streamOf(ctx, c, id)
			if err != nil {
				return err
			}
			writeJSON(w, http.StatusOK, describeStream(c.tenant, row))
			return nil
		}
		rows, _, err := s.store.StoredDestinations(ctx, c.TenantID, models.Page{Limit: settings.MaxDestinations})
		if err != nil {
			return err
		}
		list := []streamConfig{}
		for i := range rows {
			if c.isStream(rows[i].Row.Settings) {
				list = append(list, describeStream(c.tenant, &rows[i].Row))
			}
		}
		writeJSON(w, http.StatusOK, list)
		return nil
	})
}

// queryStream authenticates a request that names its stream in the query.
func (s *Server) queryStream(ctx context.Context, call *Call, r *http.Request, scopes ...string) (c *Client, id string, err error) {
	query, err := parseQuery(r)
	if err != nil {
		return nil, "", err
	}
	if c, err = s.authenticateReceiver(ctx, call, r, scopes...); err != nil {
		return nil, "", err
	}
	if len(query["stream_id"]) > 1 {
		return nil, "", repeated("stream_id")
	}
	if query.Has("stream_id") && query.Get("stream_id") == "" {
		return nil, "", errNoStream()
	}
	return c, query.Get("stream_id"), nil
}

// manageStream authenticates a request that changes a stream and reads its body.
func (s *Server) manageStream(ctx context.Context, call *Call, r *http.Request, body any) (*Client, error) {
	if _, err := parseQuery(r); err != nil {
		return nil, err
	}
	c, err := s.authenticateReceiver(ctx, call, r, ScopeSSFManage)
	if err != nil {
		return nil, err
	}
	return c, readStrictly(r, MaxBody, body)
}

// CreateStream serves POST {iss}/ssf/stream.
func (s *Server) CreateStream(w http.ResponseWriter, r *http.Request, call *Call) {
	s.serve(w, r, call, func(ctx context.Context) error {
		var q streamRequest
		c, err := s.manageStream(ctx, call, r, &q)
		if err != nil {
			return err
		}
		if _, given := q.Written["stream_id"]; given {
			return invalidRequest(ReasonParameterInvalid, "stream_id must not be sent: the server chooses it")
		}
		row := &models.Destination{TenantID: c.TenantID, ID: strings.ToLower(rand.Text()), Settings: settings.DestinationSettings{
			Type: settings.DestinationPoll, Client: c.ID,
		}}
		spec, _, err := q.change(c.tenant, row, true)
		if err != nil {
			return err
		}
		if err := s.applyStream(ctx, call, c, spec, true, func(string) error { return nil }); err != nil {
			return err
		}
		row.Settings = spec.DestinationSettings
		writeJSON(w, http.StatusCreated, describeStream(c.tenant, row))
		return nil
	})
}

// UpdateStream serves PATCH {iss}/ssf/stream, and ReplaceStream PUT.
func (s *Server) UpdateStream(w http.ResponseWriter, r *http.Request, call *Call) {
	s.changeStream(w, r, call, false)
}

// ReplaceStream serves PUT {iss}/ssf/stream.
func (s *Server) ReplaceStream(w http.ResponseWriter, r *http.Request, call *Call) {
	s.changeStream(w, r, call, true)
}

// errStreamChanged means that another request has changed a stream meanwhile.
var errStreamChanged = errors.New("another request has changed the stream")

func (s *Server) changeStream(w http.ResponseWriter, r *http.Request, call *Call, replace bool) {
	s.serve(w, r, call, func(ctx context.Context) error {
		var q streamRequest
		c, err := s.manageStream(ctx, call, r, &q)
		if err != nil {
			return err
		}
		switch {
		case !q.has("stream_id"):
			return invalidRequest(ReasonParameterMissing, "stream_id is required")
		case replace && !q.has("delivery"):
			return invalidRequest(ReasonParameterMissing, "delivery is required")
		}
		for range changeAttempts {
			row, version, err := s.storedStream(ctx, c, q.StreamID)
			if err != nil {
				return err
			}
			spec, keepSecret, err := q.change(c.tenant, row, replace)
			if err != nil {
				return err
			}
			err = s.applyStream(ctx, call, c, spec, keepSecret, func(now string) error {
				if now != version {
					return errStreamChanged
				}
				return nil
			})
			if err == nil {
				row.Settings = spec.DestinationSettings
				writeJSON(w, http.StatusOK, describeStream(c.tenant, row))
				return nil
			}
			if !errors.Is(err, errStreamChanged) {
				return err
			}
		}
		return unavailable(errStreamChanged)
	})
}

// storedStream returns a stream of the client with its version.
func (s *Server) storedStream(ctx context.Context, c *Client, id string) (*models.Destination, string, error) {
	if _, err := s.streamOf(ctx, c, id); err != nil {
		return nil, "", err
	}
	stored, err := s.store.StoredDestination(ctx, c.TenantID, id)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return nil, "", errNoStream()
	case err != nil:
		return nil, "", err
	case stored.Managed:
		return nil, "", streamManaged()
	}
	return &stored.Row, stored.Version(), nil
}

// streamManaged returns the refusal of a change of a stream that the configuration
// file of the server describes.
func streamManaged() *Error {
	return &Error{Code: "invalid_request", Reason: ReasonStreamManaged, Status: http.StatusConflict,
		Description: "The configuration file of the server describes the stream, and only the operator can change it"}
}

// change returns the stream with the changes of the request, and whether it keeps its
// authorization header. With replace, members that the request omits are deleted.
func (q *streamRequest) change(t *Tenant, row *models.Destination, replace bool) (spec settings.DestinationSpec, keepSecret bool, err error) {
	invalid := func(description string) (settings.DestinationSpec, bool, error) {
		return spec, false, invalidRequest(ReasonParameterInvalid, description)
	}
	spec = settings.DestinationSpec{ID: row.ID, DestinationSettings: row.Settings, KeepDisabled: true}
	d := &spec.DestinationSettings
	if _, given := q.Written["description"]; given || replace {
		d.Description = cut(q.Description, maxStreamDescription)
	}
	if _, given := q.Written["events_requested"]; given || replace {
		d.Events = nil
		if q.has("events_requested") {
			d.Events = delivery.Requested(q.EventsRequested)
		}
	}
	keepSecret = true
	if q.has("delivery") {
		switch asked := q.Delivery; {
		case asked.Method == methodPush && asked.EndpointURL == "":
			return invalid("delivery.endpoint_url is required for " + methodPush)
		case asked.Method == methodPush:
			if d.Type != settings.DestinationPush || d.URL != asked.EndpointURL {
				// Neither a secret nor a permission of the earlier URL is for this one.
				keepSecret, d.AllowPrivateAddresses = false, false
			}
			d.Type, d.URL, spec.Secret = settings.DestinationPush, asked.EndpointURL, asked.AuthorizationHeader
			if _, given := asked.Written["authorization_header"]; given {
				keepSecret = false
			}
		case asked.Method == methodPoll && asked.EndpointURL != "" && asked.EndpointURL != pollURL(t, row.ID):
			return invalid("delivery.endpoint_url must be left out for " + methodPoll + ": the server chooses it")
		case asked.Method == methodPoll && asked.AuthorizationHeader != "":
			return invalid("delivery.authorization_header must be left out for " + methodPoll)
		case asked.Method == methodPoll:
			d.Type, d.URL, d.AllowPrivateAddresses, keepSecret = settings.DestinationPoll, "", false, false
		default:
			return invalid("delivery.method must be " + methodPush + " or " + methodPoll)
		}
	}
	if name := q.mismatch(describeStream(t, row)); name != "" {
		return invalid(name + " does not match the value of the server; leave it out")
	}
	return spec, keepSecret, nil
}

// mismatch returns the name of a member that the server supplies and that differs from
// the current configuration; empty: there is none.
func (q *streamRequest) mismatch(now streamConfig) string {
	audience, err := stringOrList(q.Audience)
	for name, same := range map[string]bool{
		"iss":                       q.Issuer == now.Issuer,
		"aud":                       err == nil && slices.Equal(audience, []string{now.Audience}),
		"events_supported":          sameElements(q.EventsSupported, now.EventsSupported),
		"events_delivered":          sameElements(q.EventsDelivered, now.EventsDelivered),
		"min_verification_interval": q.MinVerification == now.MinVerification,
	} {
		if _, given := q.Written[name]; given && !same {
			return name
		}
	}
	return ""
}

// sameElements reports whether two lists have the same elements in any order.
func sameElements(a, b []string) bool { return len(a) == len(b) && subset(a, b) && subset(b, a) }

// cut cuts text to a length in bytes, between two characters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// streamActor is the actor of changes that a client makes to its streams.
func streamActor(call *Call, c *Client) models.Actor {
	return models.Actor{Name: "client " + c.ID, Role: models.RoleClient, IP: call.IP}
}

// applyStream writes a stream by the rules of the configuration file.
func (s *Server) applyStream(ctx context.Context, call *Call, c *Client, spec settings.DestinationSpec, keepSecret bool, check func(version string) error) error {
	tenant := settings.InTenant(c.TenantID)
	tenant.EventDestinations = []settings.DestinationSpec{spec}
	tooMany := false
	_, err := s.store.Apply(ctx, []settings.TenantSpec{tenant}, s.keys, models.ApplyOptions{
		Replace: true, KeepSecrets: keepSecret, Precondition: check, Actor: streamActor(call, c),
		Validate: func(tenants []settings.TenantSpec) settings.Faults {
			faults := settings.ValidateTenants(tenants, s.registry.base)
			if tooMany = countStreams(tenants, c) > maxClientStreams; tooMany {
				faults.Add("", "the client has too many event streams")
			}
			return faults
		},
	})
	var faults settings.Faults
	switch {
	case tooMany:
		return &Error{Code: "invalid_request", Reason: ReasonStreamLimit, Status: http.StatusConflict, Description: "The client has as many event streams as it may have; delete one"}
	case errors.As(err, &faults):
		return refuseStream(faults)
	case errors.Is(err, models.ErrNotFound):
		return errNoStream()
	}
	return err
}

func countStreams(tenants []settings.TenantSpec, c *Client) (n int) {
	for _, t := range tenants {
		for _, d := range t.EventDestinations {
			if t.ID == c.TenantID && c.isStream(d.DestinationSettings) {
				n++
			}
		}
	}
	return n
}

// streamMembers are the members of a stream by the key that a fault names.
var streamMembers = map[string]string{"url": "delivery.endpoint_url", "secret": "delivery.authorization_header", "description": "description"}

// refuseStream returns the refusal of a stream whose settings have faults.
func refuseStream(faults settings.Faults) error {
	for _, f := range faults {
		if f.Code == settings.FaultManagedByFile {
			return streamManaged()
		}
		key, is := strings.CutPrefix(f.Path, "tenants[0].event_destinations[0].")
		if member := streamMembers[key]; is && member != "" {
			problem := f.Problem
			if key == "url" {
				problem = "must be an absolute https URL without a user name, a password or a fragment" // not how an operator could allow others
			}
			return invalidRequest(ReasonParameterInvalid, member+" "+problem)
		}
	}
	return faults // of other objects of the tenant, which the client cannot correct
}

// DeleteStream serves DELETE {iss}/ssf/stream.
func (s *Server) DeleteStream(w http.ResponseWriter, r *http.Request, call *Call) {
	s.serve(w, r, call, func(ctx context.Context) error {
		c, id, err := s.queryStream(ctx, call, r, ScopeSSFManage)
		if err != nil {
			return err
		}
		if id == "" {
			return invalidRequest(ReasonParameterMissing, "stream_id is required in the query")
		}
		if _, _, err := s.storedStream(ctx, c, id); err != nil {
			return err
		}
		_, err = s.store.Apply(ctx, []settings.TenantSpec{settings.InTenant(c.TenantID)}, s.keys, models.ApplyOptions{
			Remove: []models.Ref{{Kind: models.KindDestination, Tenant: c.TenantID, ID: id}}, Actor: streamActor(call, c),
			Validate: func(tenants []settings.TenantSpec) settings.Faults {
				return settings.ValidateTenants(tenants, s.registry.base)
			},
		})
		var faults settings.Faults
		if errors.As(err, &faults) {
			return refuseStream(faults)
		}
		if err != nil {
			return err
		}
		noContent(w)
		return nil
	})
}

// noContent sends an empty response that must not be cached.
func noContent(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	w.WriteHeader(http.StatusNoContent)
}
