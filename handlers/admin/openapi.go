package admin

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
)

// document serves the OpenAPI document as JSON, as YAML, and as a page to read. It
// renders each at its first request.
type document struct {
	asJSON, asYAML, page func() ([]byte, error)
}

func newDocument(o *huma.OpenAPI) *document {
	return &document{
		asJSON: sync.OnceValues(func() ([]byte, error) { return json.Marshal(o) }),
		asYAML: sync.OnceValues(o.YAML),
		page:   sync.OnceValues(func() ([]byte, error) { return renderReference(o) }),
	}
}

func (d *document) json(g *gin.Context) { serve(g, "application/openapi+json", d.asJSON) }
func (d *document) yaml(g *gin.Context) { serve(g, "application/openapi+yaml", d.asYAML) }

func (d *document) reference(g *gin.Context) {
	g.Header("Content-Security-Policy", referencePolicy)
	serve(g, "text/html; charset=utf-8", d.page)
}

func serve(g *gin.Context, kind string, render func() ([]byte, error)) {
	text, err := render()
	if err != nil {
		writeProblem(g, asProblem(err))
		return
	}
	g.Data(http.StatusOK, kind, text)
}

// OpenAPI writes the OpenAPI document of the admin API as YAML.
func OpenAPI(w io.Writer) error {
	gin.SetMode(gin.ReleaseMode)
	a := newAPI(gin.New(), &Service{Log: slog.New(slog.DiscardHandler)}, func(*http.Request) string { return "" })
	text, err := a.OpenAPI().YAML()
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}
