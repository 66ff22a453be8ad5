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

// document serves the OpenAPI document as JSON and as YAML.
type document struct {
	openapi func() ([2][]byte, error)
}

func documents(o *huma.OpenAPI) *document {
	return &document{sync.OnceValues(func() (forms [2][]byte, err error) {
		if forms[0], err = json.Marshal(o); err != nil {
			return forms, err
		}
		forms[1], err = o.YAML()
		return forms, err
	})}
}

func (d *document) json(g *gin.Context) { d.serve(g, 0, "application/openapi+json") }
func (d *document) yaml(g *gin.Context) { d.serve(g, 1, "application/openapi+yaml") }

func (d *document) serve(g *gin.Context, form int, kind string) {
	forms, err := d.openapi()
	if err != nil {
		writeProblem(g, asProblem(err))
		return
	}
	g.Data(http.StatusOK, kind, forms[form])
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
