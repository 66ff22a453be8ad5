package handlers

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/models"
)

// alive serves /healthz, which reports that the process responds.
func (e *edge) alive(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, gin.H{"status": "ok"})
}

// ready serves /readyz, which reports whether the node can serve requests, and
// if not, why.
func (e *edge) ready(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), 2*time.Second)
	defer cancel()
	c.Header("Cache-Control", "no-store")
	if err := e.Ready(ctx); err != nil {
		c.Error(err)
		c.JSON(http.StatusServiceUnavailable, gin.H{"status": "unavailable", "reason": unready(err)})
		return
	}
	c.JSON(http.StatusOK, gin.H{"status": "ok"})
}

// unready returns the reason for everybody to read. A database error may name
// hosts and users, so only the log shows it.
func unready(err error) string {
	for _, reason := range []error{models.ErrReadOnly, models.ErrFormerPrimary, models.ErrStarting, models.ErrUnavailable} {
		if errors.Is(err, reason) {
			return reason.Error()
		}
	}
	return "see the log"
}
