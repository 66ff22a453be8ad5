package handlers

import (
	"context"
	"strings"

	"github.com/gin-gonic/gin"
)

// withTimeout bounds everything that a request waits for: a database that hangs is
// one that is away. A stream bounds each of its writes instead.
func (e *edge) withTimeout(c *gin.Context) {
	if e.Timeout == 0 || streams(c) {
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), e.Timeout)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	c.Next()
}

// streams says that the route may go on answering for as long as it likes.
func streams(c *gin.Context) bool { return strings.HasSuffix(c.FullPath(), "/revocations") }
