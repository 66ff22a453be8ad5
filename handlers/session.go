package handlers

import (
	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/oauth"
)

// sessions registers the session API of an issuer: for users by their tokens,
// and, where there is more than one session or another one, for back ends by
// Basic.
func (e *edge) sessions(iss gin.IRoutes) {
	iss.GET("/session", e.endpoint((*oauth.Server).Session))
	iss.DELETE("/session", e.endpoint((*oauth.Server).SignOut))
	iss.OPTIONS("/session", e.preflight("GET, DELETE"))

	iss.GET("/sessions", e.endpoint((*oauth.Server).Sessions))
	iss.DELETE("/sessions", e.endpoint((*oauth.Server).EndSessions))
	iss.OPTIONS("/sessions", e.preflight("GET, DELETE"))

	iss.GET("/sessions/:sid", named(e.endpoint((*oauth.Server).NamedSession)))
	iss.DELETE("/sessions/:sid", named(e.endpoint((*oauth.Server).EndSession)))
	iss.OPTIONS("/sessions/:sid", e.preflight("GET, DELETE"))
	iss.POST("/sessions/:sid/extend", named(e.endpoint((*oauth.Server).ExtendSession)))

	iss.GET("/userinfo", e.endpoint((*oauth.Server).UserInfo))
	iss.POST("/userinfo", e.endpoint((*oauth.Server).UserInfo))
	iss.OPTIONS("/userinfo", e.preflight("GET, POST"))
}

// named hands the session that the path names to an endpoint.
func named(handler gin.HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Request.SetPathValue("sid", c.Param("sid"))
		handler(c)
	}
}
