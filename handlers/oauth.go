package handlers

import (
	"context"
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

// tenant finds the tenant that the path names through find, or answers why it
// cannot and returns nil.
func tenant(c *gin.Context, find func(context.Context, string) (*oauth.Tenant, error)) *oauth.Tenant {
	id, ok := tenantID(c)
	if !ok {
		notFound(c)
		return nil
	}
	t, err := find(c.Request.Context(), id) // gin uses its own context again
	switch {
	case err == nil:
		return t
	case errors.Is(err, models.ErrNotFound):
		notFound(c)
	default:
		c.Error(err)
		c.Header("Retry-After", "1")
		writeRefusal(c, http.StatusServiceUnavailable, "temporarily_unavailable", oauth.ReasonUnavailable, "The server is temporarily unavailable; try again")
	}
	return nil
}

// serve hands a request to the OAuth server, which answers it.
func (e *edge) serve(answer func(*oauth.Server, http.ResponseWriter, *http.Request, *oauth.Call)) gin.HandlerFunc {
	return func(c *gin.Context) {
		t := tenant(c, func(ctx context.Context, id string) (*oauth.Tenant, error) {
			t, err := e.OAuth.Tenant(ctx, id)
			if last := e.OAuth.LastKnown(id); err != nil && last != nil && !e.noBrowsers(c) {
				allowOrigin(c.Writer.Header(), originOf(c.Request), last) // a browser must be able to read the 503
			}
			return t, err
		})
		if t == nil {
			return
		}
		call := &oauth.Call{Tenant: t, IP: e.clientIP(c.Request), UserAgent: oauth.TrimUserAgent(c.Request.UserAgent()), Origin: originOf(c.Request)}
		c.Set(callKey, call)
		w := e.withCORS(c, call)
		if !e.OAuth.AcceptOrigin(w, call, e.noBrowsers(c)) {
			return
		}
		for _, param := range c.Params {
			c.Request.SetPathValue(param.Key, param.Value)
		}
		answer(e.OAuth, w, c.Request, call)
	}
}

const (
	callKey   = "call"
	reasonKey = "reason" // of a refusal by the edge itself
)

// callOf is what became known of the request; nil outside OAuth endpoints.
func callOf(c *gin.Context) *oauth.Call {
	call, _ := c.Get(callKey)
	known, _ := call.(*oauth.Call)
	return known
}
