package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"mime"
	"net/http"
	"path"

	"github.com/gin-gonic/gin"
)

//go:embed static
var staticFiles embed.FS

// staticFile is a style sheet, a script or a picture.
type staticFile struct {
	content []byte
	kind    string
	version string // changes with the content
}

var static = readStatic()

func readStatic() map[string]staticFile {
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		panic(err)
	}
	files := map[string]staticFile{}
	for _, e := range entries {
		content, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err)
		}
		kind := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8"}[path.Ext(e.Name())]
		if kind == "" {
			kind = mime.TypeByExtension(path.Ext(e.Name()))
		}
		sum := sha256.Sum256(content)
		files[e.Name()] = staticFile{content, kind, hex.EncodeToString(sum[:8])}
	}
	return files
}

// staticURL returns the URL of a file. It contains the version, so that a browser can
// keep the file.
func staticURL(name string) string {
	return basePath + "/static/" + name + "?v=" + static[name].version
}

// serveStatic serves a file, to anybody.
func serveStatic(c *gin.Context) {
	f, known := static[c.Param("file")]
	if !known {
		NotFound(c)
		return
	}
	tag := `"` + f.version + `"`
	c.Header("ETag", tag)
	c.Header("Cache-Control", "no-cache")
	if c.Query("v") == f.version {
		c.Header("Cache-Control", "public, max-age=31536000, immutable")
	}
	if c.GetHeader("If-None-Match") == tag {
		c.Status(http.StatusNotModified)
		return
	}
	c.Data(http.StatusOK, f.kind, f.content)
}
