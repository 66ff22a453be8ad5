package admin

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// referencePath is the path of the reference page.
const referencePath = basePath + "/docs"

//go:embed reference.html
var referenceHTML string

//go:embed reference.css
var referenceCSS string

var referenceTemplate = template.Must(template.New("reference").Parse(referenceHTML))

// referencePolicy allows the page its own style, and nothing else: it has no script and
// loads nothing.
var referencePolicy = func() string {
	sum := sha256.Sum256([]byte(referenceCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// methods lists the methods of a path's operations in the order of the reference page.
var methods = []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodPost, http.MethodDelete}

// reference is the content of the reference page: the OpenAPI document in words.
type reference struct {
	Style  template.CSS
	Info   *huma.Info
	Server string
	Groups []referenceGroup
	Errors []referenceError
	Types  []referenceType
}

// referenceGroup holds the operations of a tag.
type referenceGroup struct {
	ID, Name, Description string
	Operations            []referenceOperation
}

type referenceOperation struct {
	ID, Method           string
	Path                 []pathPart
	Summary, Description string
	Roles                []string
	Parameters           []referenceMember
	Body                 *referenceBody
	Responses            []referenceResponse
	Errors               []int
}

// pathPart is a piece of a path: literal text, or the name of a parameter.
type pathPart struct {
	Text      string
	Parameter bool
}

type referenceBody struct {
	Type     referenceTypeName
	Kinds    []string
	Optional bool
}

type referenceResponse struct {
	Status, Description string
	Type                *referenceTypeName // nil: no body
	Kinds               []string
	ETag                bool
}

type referenceError struct {
	Status       int
	Text, Detail string
	Headers      []string
}

// referenceType is an object of requests or responses.
type referenceType struct {
	Name    string
	Members []referenceMember
}

// referenceMember is a member of an object, or a parameter.
type referenceMember struct {
	Name        string
	In          string // of a parameter: path, query or header
	Type        referenceTypeName
	Required    bool
	Notes       []string
	Description string
}

// referenceTypeName is the type of a value. Ref is the name of an object, which Before
// and After surround.
type referenceTypeName struct{ Before, Ref, After string }

// renderReference returns the reference page of a document.
func renderReference(o *huma.OpenAPI) ([]byte, error) {
	page := reference{Style: template.CSS(referenceCSS), Info: o.Info, Server: o.Servers[0].URL + basePath}
	for _, tag := range o.Tags {
		page.Groups = append(page.Groups, newGroup(o, tag))
	}
	statuses := map[int]bool{}
	for i := range page.Groups {
		for _, op := range page.Groups[i].Operations {
			for _, status := range op.Errors {
				statuses[status] = true
			}
		}
	}
	for status := range statuses {
		response := o.Components.Responses[strings.ReplaceAll(http.StatusText(status), " ", "")]
		e := referenceError{Status: status, Text: http.StatusText(status), Detail: response.Description}
		for name := range response.Headers {
			e.Headers = append(e.Headers, name)
		}
		page.Errors = append(page.Errors, e)
	}
	slices.SortFunc(page.Errors, func(a, b referenceError) int { return a.Status - b.Status })
	for name, s := range o.Components.Schemas.Map() {
		page.Types = append(page.Types, referenceType{name, newMembers("", s)})
	}
	slices.SortFunc(page.Types, func(a, b referenceType) int { return strings.Compare(a.Name, b.Name) })
	var b bytes.Buffer
	err := referenceTemplate.Execute(&b, page)
	return b.Bytes(), err
}

func newGroup(o *huma.OpenAPI, tag *huma.Tag) referenceGroup {
	g := referenceGroup{ID: strings.ReplaceAll(tag.Name, " ", "-"), Name: tag.Name, Description: tag.Description}
	paths := []string{}
	for path := range o.Paths {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		for _, method := range methods {
			if op := operationOf(o.Paths[path], method); op != nil && slices.Contains(op.Tags, tag.Name) {
				g.Operations = append(g.Operations, newReferenceOperation(method, path, op))
			}
		}
	}
	return g
}

func newReferenceOperation(method, path string, op *huma.Operation) referenceOperation {
	out := referenceOperation{ID: op.OperationID, Method: method, Path: pathParts(path), Summary: op.Summary, Description: op.Description}
	out.Roles, _ = op.Extensions[rolesExtension].([]string)
	for _, p := range op.Parameters {
		m := newMember(p.Name, p.Schema, p.Required)
		m.In = p.In
		if p.Description != "" {
			m.Description = p.Description
		}
		out.Parameters = append(out.Parameters, m)
	}
	if op.RequestBody != nil {
		out.Body = &referenceBody{Optional: !op.RequestBody.Required}
		out.Body.Kinds, out.Body.Type = content(op.RequestBody.Content)
	}
	for status, response := range op.Responses {
		if response.Ref != "" {
			code, _ := strconv.Atoi(status)
			out.Errors = append(out.Errors, code)
			continue
		}
		r := referenceResponse{Status: status, Description: response.Description, ETag: response.Headers["ETag"] != nil}
		if len(response.Content) > 0 {
			kinds, name := content(response.Content)
			r.Kinds, r.Type = kinds, &name
		}
		out.Responses = append(out.Responses, r)
	}
	slices.Sort(out.Errors)
	slices.SortFunc(out.Responses, func(a, b referenceResponse) int { return strings.Compare(a.Status, b.Status) })
	return out
}

// content returns the media types of a body, and the type of its value.
func content(media map[string]*huma.MediaType) (kinds []string, name referenceTypeName) {
	for kind := range media {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds, typeName(media[kinds[0]].Schema)
}

// pathParts splits a path of the document, without basePath, at its parameters.
func pathParts(path string) (parts []pathPart) {
	path = strings.TrimPrefix(path, basePath)
	for path != "" {
		literal, rest, found := strings.Cut(path, "{")
		parts = append(parts, pathPart{Text: literal})
		if !found {
			break
		}
		name, after, _ := strings.Cut(rest, "}")
		parts = append(parts, pathPart{name, true})
		path = after
	}
	return parts
}

// newMembers lists the members of an object: the required ones first. Members of an
// object inside it have dotted names.
func newMembers(prefix string, s *huma.Schema) (list []referenceMember) {
	names := []string{}
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if required := slices.Contains(s.Required, a); required != slices.Contains(s.Required, b) {
			if required {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		member := s.Properties[name]
		list = append(list, newMember(prefix+name, member, slices.Contains(s.Required, name)))
		list = append(list, newMembers(prefix+name+".", member)...)
	}
	return list
}

func newMember(name string, s *huma.Schema, required bool) referenceMember {
	m := referenceMember{Name: name, Type: typeName(s), Required: required, Description: s.Description}
	note := func(format string, args ...any) { m.Notes = append(m.Notes, fmt.Sprintf(format, args...)) }
	var values []string
	for _, value := range s.Enum {
		if value != nil {
			values = append(values, fmt.Sprint(value))
		}
	}
	if len(values) > 0 {
		note("one of %s", strings.Join(values, ", "))
	}
	if s.Default != nil {
		note("default %v", s.Default)
	}
	if s.Minimum != nil && s.Maximum != nil {
		note("%v to %v", *s.Minimum, *s.Maximum)
	}
	if s.MaxLength != nil {
		note("at most %d characters", *s.MaxLength)
	}
	if s.MaxItems != nil {
		note("at most %d items", *s.MaxItems)
	}
	return m
}

// several returns the type of a collection of values, such as "list of strings".
func several(collection string, t referenceTypeName) referenceTypeName {
	if t.Ref == "" && t.After == "" {
		t.Before += "s"
	}
	t.Before = collection + t.Before
	return t
}

// typeName returns the type of a schema in words.
func typeName(s *huma.Schema) referenceTypeName {
	if s.Ref != "" {
		return referenceTypeName{Ref: strings.TrimPrefix(s.Ref, schemaPath)}
	}
	if len(s.AnyOf) > 0 { // of orNull
		t := typeName(s.AnyOf[0])
		t.After += " or null"
		return t
	}
	var t referenceTypeName
	values, isMap := s.AdditionalProperties.(*huma.Schema)
	switch {
	case s.Type == huma.TypeArray:
		t = several("list of ", typeName(s.Items))
	case s.Type == huma.TypeObject && isMap:
		t = several("map of ", typeName(values))
	case s.Format == "date-time":
		t.Before = "time"
	case s.Type == "":
		t.Before = "any value"
	default:
		t.Before = s.Type
	}
	if s.Nullable {
		t.After += " or null"
	}
	return t
}
