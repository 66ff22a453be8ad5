package admin

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// Serves reports whether a path belongs to the admin API.
func Serves(path string) bool { return path == basePath || strings.HasPrefix(path, basePath+"/") }

// Streams reports whether the responses of a route are streams, which have no time
// limit.
func Streams(route string) bool {
	return strings.HasPrefix(route, basePath) && (strings.HasSuffix(route, "/events/stream") || strings.HasSuffix(route, "/sessions/export"))
}

// NotFound sends a 404.
func NotFound(c *gin.Context) { writeProblem(c, asProblem(ErrNotFound)) }

// MethodNotAllowed sends a 405. gin has set Allow by then.
func MethodNotAllowed(c *gin.Context) {
	writeProblem(c, problem(http.StatusMethodNotAllowed, "method_not_allowed", "Method not allowed; see the Allow header"))
}

// ForeignHost sends the 403 of a request whose Host names another machine.
func ForeignHost(c *gin.Context) {
	writeProblem(c, problem(http.StatusForbidden, "foreign_host", "The Host header names another machine; use localhost or 127.0.0.1"))
}
