package handlers

import (
	"context"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// tenantID returns the id of the tenant in the path. The default tenant has no
// path of its own; ok is false for a path that names it.
func tenantID(c *gin.Context) (id string, ok bool) {
	if id, named := c.Params.Get("tenant"); named {
		return id, id != settings.DefaultTenant
	}
	return settings.DefaultTenant, true
}

// tenant looks up the tenant in the path with find. If it fails, it sends the
// error and returns nil.
func tenant(c *gin.Context, find func(context.Context, string) (*oauth.Tenant, error)) *oauth.Tenant {
	id, ok := tenantID(c)
	if !ok {
		notFound(c)
		return nil
	}
	t, err := find(c.Request.Context(), id) // a gin.Context is reused after the request
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

// serve passes a request to the OAuth server, which sends the response.
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

// callOf returns what is known of the request, or nil outside the OAuth
// endpoints.
func callOf(c *gin.Context) *oauth.Call {
	call, _ := c.Get(callKey)
	known, _ := call.(*oauth.Call)
	return known
}
