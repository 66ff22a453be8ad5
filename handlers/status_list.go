package handlers

import (
	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/oauth"
)

// statusList serves {iss}/status/{list} to everybody, from memory while the
// database is unavailable.
func (e *edge) statusList(c *gin.Context) {
	c.Header("Access-Control-Allow-Origin", "*")
	t := tenant(c, e.OAuth.PublicTenant)
	if t == nil {
		return
	}
	call := &oauth.Call{Tenant: t, IP: e.clientIP(c.Request)}
	c.Set(callKey, call)
	c.Request.SetPathValue("list", c.Param("list"))
	e.OAuth.StatusList(c.Writer, c.Request, call)
}
