package admin

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/latchkey/latchkey/settings"
)

// Client, Issuer and Tenant marshal themselves. The following types describe them in
// the document, in responses and in requests.

type clientSchema struct {
	ID string `json:"id" doc:"Its client_id"`
	settings.ClientSettings
	Secret string       `json:"secret,omitempty" doc:"The secret that the server generated in this request. It is not shown again"`
	Status ClientStatus `json:"status" readOnly:"true" doc:"The state of the resource, which is not part of its settings"`
}

type clientRequestSchema struct {
	ID string `json:"id,omitempty" doc:"Its client_id. Optional; it must be the same as in the path"`
	settings.ClientSettings
	Secret         string `json:"secret,omitempty" writeOnly:"true" doc:"Its secret, at least 32 characters. Responses do not contain it"`
	PreviousSecret string `json:"previous_secret,omitempty" writeOnly:"true" doc:"Its previous secret, which is also accepted until previous_until"`
	Status         any    `json:"status,omitempty" doc:"Ignored"`
}

type issuerSchema struct {
	ID string `json:"id" doc:"The id of the entry"`
	settings.IssuerSettings
	Status IssuerStatus `json:"status" readOnly:"true" doc:"The state of the resource, which is not part of its settings"`
}

type issuerRequestSchema struct {
	ID string `json:"id,omitempty" doc:"The id of the entry. Optional; it must be the same as in the path"`
	settings.IssuerSettings
	Status any `json:"status,omitempty" doc:"Ignored"`
}

type destinationSchema struct {
	ID string `json:"id" doc:"Its id"`
	settings.DestinationSettings
	Secret string            `json:"secret,omitempty" doc:"A secret that the server has just generated. It is not shown again"`
	Status DestinationStatus `json:"status" readOnly:"true" doc:"The state of the resource, which is not part of its settings"`
}

type destinationRequestSchema struct {
	ID string `json:"id,omitempty" doc:"Its id again, or left out"`
	settings.DestinationSettings
	Secret string `json:"secret,omitempty" writeOnly:"true" doc:"For a webhook: whsec_ and the base64 of 24 to 64 random bytes. For set_push: the value of the header Authorization. It is not shown again"`
	Status any    `json:"status,omitempty" doc:"Ignored"`
}

// TenantSettings are the settings of a tenant as the document describes them.
type TenantSettings struct {
	SigningAlgorithm     string                  `json:"signing_algorithm,omitempty" enum:"RS256,ES256,Ed25519" doc:"The algorithm of its signing keys; default RS256"`
	KeyRotation          *settings.Duration      `json:"key_rotation,omitempty" doc:"The age at which a signing key is replaced, or none; default 90d"`
	Disabled             bool                    `json:"disabled,omitempty" doc:"Nobody can sign in, and its sessions have ended"`
	StoreDevice          *bool                   `json:"store_device,omitempty" doc:"Store the names, user agents and addresses of devices; default true"`
	UserRetention        *settings.Duration      `json:"user_retention,omitempty" doc:"Delete users who have no session and have not signed in for this long; default none"`
	SearchableAttributes []string                `json:"searchable_attributes,omitempty" maxItems:"10" doc:"Names of attributes by whose exact value users can be searched for"`
	Events               *settings.EventSettings `json:"events,omitempty" doc:"Its event log"`
	ACR                  []settings.ACRClass     `json:"acr,omitempty" doc:"Its own authentication context classes, from the weakest to the strongest"`
}

type tenantSchema struct {
	ID string `json:"id" doc:"The id of the tenant"`
	TenantSettings
	Status TenantStatus `json:"status" readOnly:"true" doc:"The state of the resource, which is not part of its settings"`
}

type tenantRequestSchema struct {
	ID string `json:"id,omitempty" doc:"The id of the tenant. Optional; it must be the same as in the path"`
	TenantSettings
	Status any `json:"status,omitempty" doc:"Ignored"`
}

// schemaName names a schema after its type.
func schemaName(t reflect.Type, hint string) string {
	return strings.TrimSuffix(huma.DefaultSchemaNamer(t, hint), "Schema")
}

// Schema implements huma.SchemaProvider.
func (Client) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[clientSchema](), true, "")
}

// Schema implements huma.SchemaProvider.
func (Issuer) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[issuerSchema](), true, "")
}

// Schema implements huma.SchemaProvider.
func (Destination) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[destinationSchema](), true, "")
}

// Schema implements huma.SchemaProvider.
func (Tenant) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[tenantSchema](), true, "")
}

// putSchema describes T, a resource in a request that replaces it: null restores a default.
func putSchema[T any](r huma.Registry) *huma.Schema {
	ref := r.Schema(reflect.TypeFor[T](), true, "")
	s := withSharedSecret(r, r.SchemaFromRef(ref.Ref))
	for name, member := range s.Properties {
		if !slices.Contains(s.Required, name) {
			s.Properties[name] = orNull(member)
		}
	}
	*r.SchemaFromRef(ref.Ref) = *s
	return ref
}

// patchSchema describes a merge patch of T (RFC 7396): every member may be left out or
// null, at every depth.
func patchSchema[T any](r huma.Registry) *huma.Schema {
	ref := r.Schema(reflect.TypeFor[T](), true, "")
	name := strings.TrimSuffix(strings.TrimPrefix(ref.Ref, schemaPath), "Request") + "Patch"
	r.Map()[name] = patchOf(r, withSharedSecret(r, r.SchemaFromRef(ref.Ref)))
	return &huma.Schema{Ref: schemaPath + name}
}

const schemaPath = "#/components/schemas/"

func patchOf(r huma.Registry, s *huma.Schema) *huma.Schema {
	if len(s.AnyOf) > 0 { // of orNull
		s = &huma.Schema{Ref: s.AnyOf[0].Ref, Description: s.Description}
	}
	if s.Ref != "" {
		described := *r.SchemaFromRef(s.Ref)
		if s.Description != "" {
			described.Description = s.Description
		}
		s = &described
	}
	if s.Type != huma.TypeObject {
		return s
	}
	patched := *s
	patched.Required, patched.Properties = nil, map[string]*huma.Schema{}
	for name, member := range s.Properties {
		patched.Properties[name] = orNull(patchOf(r, member))
	}
	if values, ok := s.AdditionalProperties.(*huma.Schema); ok {
		patched.AdditionalProperties = orNull(patchOf(r, values))
	}
	return &patched
}

// withSharedSecret returns a copy in which the keys of a trusted issuer may contain
// shared_secret, which responses never contain.
func withSharedSecret(r huma.Registry, s *huma.Schema) *huma.Schema {
	copied := *s
	copied.Properties = maps.Clone(s.Properties)
	if keys, has := copied.Properties["keys"]; has && keys.Ref != "" {
		described := *r.SchemaFromRef(keys.Ref)
		described.Properties = maps.Clone(described.Properties)
		described.Description = keys.Description
		described.Properties["shared_secret"] = &huma.Schema{Type: huma.TypeString, WriteOnly: true, Description: "A secret of at least 32 bytes, for HS256. Responses do not contain it"}
		copied.Properties["keys"] = &described
	}
	return &copied
}

// orNull returns a schema that also allows null.
func orNull(s *huma.Schema) *huma.Schema {
	nullable := *s
	switch {
	case s.Nullable:
	case s.Ref != "":
		return &huma.Schema{AnyOf: []*huma.Schema{{Ref: s.Ref}, {Type: "null"}}, Description: s.Description}
	case s.Type != "":
		nullable.Nullable = true
		if s.Enum != nil {
			nullable.Enum = append(slices.Clone(s.Enum), nil)
		}
	}
	return &nullable
}

// describeResponses adds the error responses of an operation: those of every operation,
// those that follow from its path and its body, and those of op.Errors. An operation
// sends no other status.
func (a *api) describeResponses(op *huma.Operation) {
	statuses := []int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusServiceUnavailable,
	}
	if strings.Contains(op.Path, "{") {
		statuses = append(statuses, http.StatusNotFound)
	}
	if op.RequestBody != nil {
		statuses = append(statuses, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	for _, status := range append(statuses, op.Errors...) {
		op.Responses[strconv.Itoa(status)] = a.problemResponse(status)
	}
	op.Errors = nil // huma would add its own error model
}

// problemResponse returns a reference to the error response with a status.
func (a *api) problemResponse(status int) *huma.Response {
	components := a.OpenAPI().Components
	name := strings.ReplaceAll(http.StatusText(status), " ", "")
	if components.Responses[name] == nil {
		response := &huma.Response{Description: problemDescriptions[status], Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")},
		}}
		text := &huma.Schema{Type: huma.TypeString}
		switch status {
		case http.StatusUnauthorized:
			response.Headers = map[string]*huma.Param{"WWW-Authenticate": {Schema: text, Required: true}}
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			response.Headers = map[string]*huma.Param{"Retry-After": {Schema: text, Description: "In seconds", Required: true}}
		}
		components.Responses[name] = response
	}
	return &huma.Response{Ref: "#/components/responses/" + name}
}

var problemDescriptions = map[int]string{
	http.StatusBadRequest:            "A parameter or the body is not valid; errors lists what is wrong",
	http.StatusUnauthorized:          "The admin key is missing, unknown, revoked or expired",
	http.StatusForbidden:             "The role of the admin key does not include the operation, or the Host header names another machine",
	http.StatusNotFound:              "There is no such resource, or the admin key is not valid for its tenant",
	http.StatusRequestTimeout:        "The body did not arrive in time",
	http.StatusConflict:              "The stored state does not allow the operation; code has the reason",
	http.StatusPreconditionFailed:    "The resource has changed since it was read, or it already exists",
	http.StatusRequestEntityTooLarge: "The body is larger than 1 MiB",
	http.StatusUnsupportedMediaType:  "The operation does not accept the media type of the body",
	http.StatusTooManyRequests:       "This address has sent too many wrong admin keys, or too many streams are open",
	http.StatusInternalServerError:   "The server encountered an unexpected condition",
	http.StatusServiceUnavailable:    "The server cannot serve the request at the moment",
}

// created adds 201, with the same content as 200, to the PUT operation of a path.
func (a *api) created(path string) {
	responses := a.registered(http.MethodPut, basePath+path).Responses
	created := *responses["200"]
	created.Description = "The resource was created"
	responses["201"] = &created
}

// streams sets the response of an operation to a stream.
func streams(op huma.Operation, kind, description string) huma.Operation {
	op.DefaultStatus = http.StatusOK
	op.Responses = map[string]*huma.Response{"200": {Description: description, Content: map[string]*huma.MediaType{
		kind: {Schema: &huma.Schema{Type: huma.TypeString}},
	}}}
	return op
}
