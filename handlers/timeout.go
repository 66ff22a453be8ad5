package handlers

import (
	"context"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/handlers/console"
)

// withTimeout bounds everything that a request waits for, so that a database
// that hangs is treated as unavailable. A stream bounds each of its writes
// instead.
func (e *edge) withTimeout(c *gin.Context) {
	if p := e.endpointOf(c); e.Timeout == 0 || p != nil && p.stream || admin.Streams(c.FullPath()) || console.Streams(c.FullPath()) {
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), e.Timeout)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	c.Next()
}
