package testadmin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/errors"

	"github.com/latchkey/latchkey/handlers/admin"
)

// document is the OpenAPI document that admin.OpenAPI writes.
type document struct {
	text       []byte
	validator  validator.Validator
	schemas    map[string]any
	operations []operation
}

// operation is an operation of the document.
type operation struct {
	id, method, path string
	statuses         []string
	body             any // the schema of its request; nil: it has none
	kinds            []string
	answers          map[string]any // the schema of the body of each status
}

var theDocument = sync.OnceValue(func() *document {
	d, err := readDocument()
	if err != nil {
		panic(err)
	}
	return d
})

func readDocument() (*document, error) {
	var text bytes.Buffer
	if err := admin.OpenAPI(&text); err != nil {
		return nil, err
	}
	parsed, err := libopenapi.NewDocument(text.Bytes())
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(parsed, config.WithFormatAssertions(), config.WithRejectUndeclaredRequestBody(),
		config.WithBodyDecoder("application/jsonl", plainText), config.WithBodyDecoder("text/event-stream", plainText))
	if len(errs) > 0 {
		return nil, errs[0]
	}
	d := &document{text: text.Bytes(), validator: v}
	return d, d.read()
}

// read reads the parts of the document that this package uses.
func (d *document) read() error {
	text, err := asJSON(d.text)
	if err != nil {
		return err
	}
	type media struct{ Schema any }
	var raw struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct {
			Schemas   map[string]any
			Responses map[string]struct{ Content map[string]media }
		}
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	d.schemas = raw.Components.Schemas
	for path, methods := range raw.Paths {
		for method, text := range methods {
			var op struct {
				OperationID string
				RequestBody *struct{ Content map[string]media }
				Responses   map[string]struct {
					Ref     string `json:"$ref"`
					Content map[string]media
				}
			}
			if err := json.Unmarshal(text, &op); err != nil {
				return err
			}
			o := operation{id: op.OperationID, method: strings.ToUpper(method), path: path, answers: map[string]any{}}
			if op.RequestBody != nil {
				for kind, m := range op.RequestBody.Content {
					o.kinds, o.body = append(o.kinds, kind), m.Schema
				}
				slices.Sort(o.kinds)
			}
			for status, response := range op.Responses {
				o.statuses = append(o.statuses, status)
				content := response.Content
				if name, is := strings.CutPrefix(response.Ref, "#/components/responses/"); is {
					content = raw.Components.Responses[name].Content
				}
				for _, m := range content {
					o.answers[status] = m.Schema
				}
			}
			slices.Sort(o.statuses)
			d.operations = append(d.operations, o)
		}
	}
	slices.SortFunc(d.operations, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return nil
}

// find returns the operation of a request.
func (d *document) find(method string, path *url.URL) *operation {
	given := strings.Split(path.EscapedPath(), "/")
	var found *operation
	for i, o := range d.operations {
		wanted := strings.Split(o.path, "/")
		if o.method != method || len(wanted) != len(given) {
			continue
		}
		fits, literal := true, true
		for j := range wanted {
			if strings.HasPrefix(wanted[j], "{") {
				literal = false
			} else if wanted[j] != given[j] {
				fits = false
			}
		}
		if fits && (found == nil || literal || strings.Count(o.path, "{") < strings.Count(found.path, "{")) {
			found = &d.operations[i]
		}
	}
	return found
}

// checkRequest compares a request with the document. It does not send the request.
func (d *document) checkRequest(r *http.Request, body []byte) error {
	copied := r.Clone(r.Context())
	copied.Body = io.NopCloser(bytes.NewReader(body))
	_, errs := d.validator.ValidateHttpRequestSync(copied)
	return faults("the request does not match the document", errs)
}

// checkResponse compares a response with the document.
func (d *document) checkResponse(r *http.Request, status int, header http.Header, body []byte) error {
	response := &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body)), Request: r}
	_, errs := d.validator.ValidateHttpResponse(r, response)
	return faults("the response does not match the document", errs)
}

func faults(what string, errs []*errors.ValidationError) error {
	if len(errs) == 0 {
		return nil
	}
	var lines []string
	for _, e := range errs {
		lines = append(lines, e.Message+": "+e.Reason)
		for _, f := range e.SchemaValidationErrors {
			lines = append(lines, "  "+f.FieldPath+": "+f.Reason)
		}
	}
	return fmt.Errorf("%s:\n%s", what, strings.Join(lines, "\n"))
}

// members calls mark with Schema.member for each member of a value that a schema
// describes.
func (d *document) members(schema, value any, name string, mark func(string)) {
	s, _ := schema.(map[string]any)
	if ref, is := s["$ref"].(string); is {
		name = strings.TrimPrefix(ref, "#/components/schemas/")
		s, _ = d.schemas[name].(map[string]any)
	}
	if either, is := s["anyOf"].([]any); is && value != nil {
		d.members(either[0], value, name, mark)
		return
	}
	switch value := value.(type) {
	case map[string]any:
		described, _ := s["properties"].(map[string]any)
		for member, v := range value {
			if schema, has := described[member]; has {
				mark(name + "." + member)
				d.members(schema, v, name+"."+member, mark)
			} else {
				d.members(s["additionalProperties"], v, name, mark)
			}
		}
	case []any:
		for _, v := range value {
			d.members(s["items"], v, name, mark)
		}
	}
}

func TestTheDocumentNeedsNoKey(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, sqlite(t))
	for path, kind := range map[string]string{"/admin/v1/openapi.json": "application/openapi+json", "/admin/v1/openapi.yaml": "application/openapi+yaml"} {
		a := d.send(t, "GET", path, nil)
		if a.Status != 200 || a.Header.Get("Content-Type") != kind {
			t.Errorf("%s: status %d, %s", path, a.Status, a.Header.Get("Content-Type"))
		}
		served, err := asJSON(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		written, err := asJSON(theDocument().text)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(served, written) {
			t.Errorf("%s is not the document that admin.OpenAPI writes", path)
		}
	}
}

func TestTheCommittedDocumentIsUpToDate(t *testing.T) {
	t.Parallel()
	committed, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, theDocument().text) {
		t.Error("docs/openapi.yaml is out of date: run make openapi")
	}
}
