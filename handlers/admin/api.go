package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
)

// basePath begins the path of every operation.
const basePath = "/admin/v1"

func init() {
	// huma has these settings for the whole process only.
	huma.NewError = humaError
	huma.DefaultArrayNullable = false
}

// maxBody bounds the body of a request.
const maxBody = 1 << 20

// api is the HTTP interface of a service.
type api struct {
	*Service
	huma.API
	clientIP func(*http.Request) string
}

// Register adds the routes of the admin API to a router. clientIP returns the address
// of the client that sent a request.
func Register(r *gin.Engine, s *Service, clientIP func(*http.Request) string) {
	a := newAPI(r, s, clientIP)
	document := newDocument(a.OpenAPI())
	r.GET(basePath+"/openapi.json", document.json)
	r.GET(basePath+"/openapi.yaml", document.yaml)
	r.GET(referencePath, document.reference)
}

func newAPI(r *gin.Engine, s *Service, clientIP func(*http.Request) string) *api {
	a := &api{Service: s, clientIP: clientIP}
	a.API = humagin.New(r, apiConfig())
	a.UseMiddleware(a.authenticate)
	a.routes()
	return a
}

func apiConfig() huma.Config {
	format := huma.Format{
		Marshal:   func(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) },
		Unmarshal: json.Unmarshal,
	}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Latchkey admin API", Version: "1",
				Description: "Manages tenants, clients, trusted issuers, users and sessions. Requests and responses are JSON; errors are problems (RFC 9457).",
				License:     &huma.License{Name: "Apache 2.0", Identifier: "Apache-2.0"},
			},
			Servers: []*huma.Server{{URL: "http://127.0.0.1:8081", Description: "The default of admin_listen"}},
			Tags:    tags,
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", schemaName),
				Responses:       map[string]*huma.Response{},
				SecuritySchemes: map[string]*huma.SecurityScheme{"key": {Type: "http", Scheme: "bearer", BearerFormat: "lk_ak_…", Description: "An admin key"}},
			},
			Security: []map[string][]string{{"key": {}}},
		},
		Formats:                      map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
}

type contextKey int

const (
	callerKey contextKey = iota
	bodyKey
	mediaTypeKey
	ginKey
)

// authenticate finds the caller of a request by its admin key, and reads the body.
func (a *api) authenticate(ctx huma.Context, next func(huma.Context)) {
	g := humagin.Unwrap(ctx)
	g.Header("Cache-Control", "no-store")
	caller, err := a.caller(g.Request, g.Writer.Header().Get("X-Request-Id"))
	if err != nil {
		a.fail(g, err)
		return
	}
	if err := checkParameters(g); err != nil {
		a.fail(g, err)
		return
	}
	body, err := readBody(g.Request, ctx.Operation())
	if err != nil {
		a.fail(g, err)
		return
	}
	ctx = huma.WithValue(huma.WithValue(ctx, callerKey, caller), ginKey, g)
	kind, _, _ := mime.ParseMediaType(g.GetHeader("Content-Type"))
	ctx = huma.WithValue(ctx, mediaTypeKey, kind)
	next(huma.WithValue(ctx, bodyKey, body))
}

func (a *api) caller(r *http.Request, id string) (*Caller, error) {
	header := r.Header.Values("Authorization")
	if len(header) != 1 {
		return nil, unauthorized("Send one admin key as Authorization: Bearer lk_ak_…")
	}
	scheme, key, _ := strings.Cut(header[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, unauthorized("Send the admin key as Authorization: Bearer lk_ak_…")
	}
	ip := a.clientIP(r)
	row, err := a.OAuth.AuthenticateAdminKey(r.Context(), strings.TrimSpace(key), ip)
	if err != nil {
		return nil, err
	}
	return &Caller{Key: row, IP: ip, RequestID: id}, nil
}

// readBody reads the body of a request and checks its size and its media type. It
// returns nil for an operation that takes no body.
func readBody(r *http.Request, op *huma.Operation) ([]byte, error) {
	if op.RequestBody == nil {
		if r.ContentLength > 0 || len(r.TransferEncoding) > 0 {
			return nil, problem(http.StatusBadRequest, "invalid_request", "This operation takes no body")
		}
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil, problem(http.StatusRequestTimeout, "timeout", "The body did not arrive in time")
	case err != nil:
		return nil, problem(http.StatusBadRequest, "invalid_request", "The body could not be read")
	case len(body) > maxBody:
		return nil, problem(http.StatusRequestEntityTooLarge, "too_large", "The body is larger than 1 MiB")
	case len(body) == 0 && op.RequestBody.Required:
		return nil, invalid(Fault{Detail: "the request needs a body"})
	case len(body) == 0:
		return nil, nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if _, served := op.RequestBody.Content[kind]; err != nil || !served {
		return nil, problem(http.StatusUnsupportedMediaType, "unsupported_media_type", "The Content-Type must be "+strings.Join(mediaTypes(op), " or "))
	}
	return body, nil
}

// fail writes an error of the middleware.
func (a *api) fail(g *gin.Context, err error) { writeProblem(g, asProblem(err)) }

func writeProblem(g *gin.Context, p *Problem) {
	for name, values := range p.header {
		g.Writer.Header()[name] = values
	}
	if p.cause != nil {
		g.Error(p.cause)
	}
	g.Header("Content-Type", "application/problem+json")
	g.Status(p.Status)
	if text, err := json.Marshal(p); err == nil {
		g.Writer.Write(text)
	}
	g.Abort()
}

// route registers an operation, which calls fn.
func route[I, O any](a *api, op huma.Operation, fn func(ctx context.Context, c *Caller, in *I) (*O, error)) {
	op.Path = basePath + op.Path
	a.describeResponses(&op)
	describeRoles(&op)
	// The middleware reads the body. If huma knew of it, it would validate the body by
	// the schema, and its errors contain values. So the body is added afterwards, for
	// the document alone.
	body := op.RequestBody
	op.RequestBody = nil
	defer func() { a.registered(op.Method, op.Path).RequestBody = body }()
	huma.Register(a.API, op, func(ctx context.Context, in *I) (*O, error) {
		c, _ := ctx.Value(callerKey).(*Caller)
		if c == nil { // the middleware did not run
			return nil, asProblem(errors.New("no caller in the context of the request"))
		}
		out, err := fn(ctx, c, in)
		if err != nil {
			p := asProblem(err)
			if p.cause != nil {
				if g, ok := ctx.Value(ginKey).(*gin.Context); ok {
					g.Error(p.cause) // for the log line of the request
				}
			}
			return nil, p
		}
		return out, nil
	})
}

// registered returns an operation of the document.
func (a *api) registered(method, path string) *huma.Operation {
	return operationOf(a.OpenAPI().Paths[path], method)
}

// operationOf returns the operation of a path with the method; it returns nil if there
// is none.
func operationOf(item *huma.PathItem, method string) *huma.Operation {
	switch method {
	case http.MethodGet:
		return item.Get
	case http.MethodPut:
		return item.Put
	case http.MethodPatch:
		return item.Patch
	case http.MethodPost:
		return item.Post
	default:
		return item.Delete
	}
}

// bodyOf returns the body that the middleware read.
func bodyOf(ctx context.Context) []byte {
	body, _ := ctx.Value(bodyKey).([]byte)
	return body
}

// mediaTypeOf returns the media type of the body.
func mediaTypeOf(ctx context.Context) string {
	kind, _ := ctx.Value(mediaTypeKey).(string)
	return kind
}

// takes adds a body with the schema of T to an operation.
func takes[T any](a *api, op huma.Operation, required bool, types ...string) huma.Operation {
	return takesSchema(op, a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, ""), required, types...)
}

func takesSchema(op huma.Operation, schema *huma.Schema, required bool, types ...string) huma.Operation {
	op.RequestBody = &huma.RequestBody{Required: required, Content: map[string]*huma.MediaType{}}
	for _, kind := range types {
		op.RequestBody.Content[kind] = &huma.MediaType{Schema: schema}
	}
	return op
}

func mediaTypes(op *huma.Operation) (names []string) {
	for _, name := range []string{"application/json", "application/merge-patch+json", "application/yaml"} {
		if _, has := op.RequestBody.Content[name]; has {
			names = append(names, name)
		}
	}
	return names
}

const (
	jsonType  = "application/json"
	patchType = "application/merge-patch+json"
	yamlType  = "application/yaml"
)

// Parameters that operations share.

type TenantPath struct {
	Tenant string `path:"tenant" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" doc:"The id of the tenant"`
}

type PageQuery struct {
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"500" doc:"The maximum number of items on the page"`
	Cursor string `query:"cursor" maxLength:"512" doc:"next_cursor of the previous page"`
}

type Conditions struct {
	IfMatch     string `header:"If-Match" doc:"Make the change only if the resource has this ETag"`
	IfNoneMatch string `header:"If-None-Match" doc:"With *: create the resource, and never replace one"`
}

func (c Conditions) precondition() Precondition { return Precondition(c) }

// answer is a response with its ETag.
type answer[T any] struct {
	Status int
	ETag   string `header:"ETag"`
	Body   T
}

// listAnswer is a page of a list.
type listAnswer[T any] struct{ Body *List[T] }

type empty struct{}

// putAnswer returns the response to a PUT: 201 if it created the resource, otherwise 200.
func putAnswer[T any](created bool, version string, body T) *answer[T] {
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return &answer[T]{Status: status, ETag: entityTag(version), Body: body}
}
