package handlers

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

// tenantID is the tenant that the path names; the default one has no path.
func tenantID(c *gin.Context) (id string, ok bool) {
	if id, named := c.Params.Get("tenant"); named {
		return id, id != models.DefaultTenant
	}
	return models.DefaultTenant, true
}

// form serves an endpoint that takes a form and answers for itself.
func (e *edge) form(endpoint func(*oauth.Server, http.ResponseWriter, *http.Request, *oauth.Call)) gin.HandlerFunc {
	return func(c *gin.Context) {
		id, ok := tenantID(c)
		if !ok {
			notFound(c)
			return
		}
		tenant, err := e.OAuth.Tenant(c, id)
		if err != nil {
			e.tenantFault(c, err)
			return
		}
		call := &oauth.Call{Tenant: tenant, IP: c.ClientIP(), UserAgent: oauth.TrimUserAgent(c.Request.UserAgent())}
		c.Set(callKey, call)
		endpoint(e.OAuth, e.withCORS(c, call), c.Request, call)
	}
}

// tenantFault answers when the tenant cannot be had: 404 if there is none.
func (e *edge) tenantFault(c *gin.Context, err error) {
	if errors.Is(err, models.ErrNotFound) {
		notFound(c)
		return
	}
	c.Error(err)
	c.Header("Retry-After", "1")
	refusal(c, http.StatusServiceUnavailable, "temporarily_unavailable", "The server cannot answer at the moment; try again")
}

const callKey = "call"

// callOf is what became known of the request; nil outside OAuth endpoints.
func callOf(c *gin.Context) *oauth.Call {
	call, _ := c.Get(callKey)
	known, _ := call.(*oauth.Call)
	return known
}
