package handlers

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/oauth"
)

// jwks serves {iss}/.well-known/jwks.json (RFC 7517 §8.5.2).
func (e *edge) jwks(c *gin.Context) {
	e.document(c, "application/jwk-set+json", e.OAuth.JWKS)
}

// metadata serves the authorization server metadata at all of its URLs.
func (e *edge) metadata(c *gin.Context) {
	e.document(c, "application/json", func(t *oauth.Tenant) (*oauth.Document, error) { return t.Metadata() })
}

// ssfMetadata serves the metadata of a transmitter at all of its URLs.
func (e *edge) ssfMetadata(c *gin.Context) {
	e.document(c, "application/json", func(t *oauth.Tenant) (*oauth.Document, error) { return t.SSFMetadata() })
}

// document serves a public document that may be cached. It remains available
// during an outage of the database.
func (e *edge) document(c *gin.Context, contentType string, of func(*oauth.Tenant) (*oauth.Document, error)) {
	t := tenant(c, e.OAuth.PublicTenant)
	if t == nil {
		return
	}
	document, err := of(t)
	if err != nil {
		c.Error(err)
		writeRefusal(c, http.StatusInternalServerError, "server_error", oauth.ReasonServerError, "The server encountered an unexpected condition")
		return
	}
	h := c.Writer.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", oauth.PublicMaxAge/time.Second))
	h.Set("ETag", document.ETag)
	if document.Unchanged(c.GetHeader("If-None-Match")) {
		c.Status(http.StatusNotModified)
		return
	}
	c.Data(http.StatusOK, contentType, document.Body)
}
