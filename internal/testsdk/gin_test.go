package testsdk

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
	"github.com/latchkey/latchkey/sdk/go/resource"
)

// requireInGin is middleware for gin, which does not use http.Handler.
func requireInGin(middleware *resource.Middleware, requirements ...resource.Requirement) gin.HandlerFunc {
	return func(c *gin.Context) {
		request, ok := middleware.Check(c.Writer, c.Request, requirements...)
		if !ok {
			c.Abort()
			return
		}
		c.Request = request
	}
}

func TestTheMiddlewareWorksInGin(t *testing.T) {
	issuer := latchkeytest.New(t)
	o := issuer.VerifierOptions()
	o.Revocation = resource.None
	v, err := resource.NewVerifier(issuer.URL, latchkeytest.Audience, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	middleware, err := resource.NewMiddleware(v, resource.MiddlewareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	gin.SetMode(gin.TestMode)
	router := gin.New()
	router.GET("/orders", requireInGin(middleware, resource.RequireScope("orders:read")), func(c *gin.Context) {
		c.String(http.StatusOK, resource.TokenFromContext(c.Request.Context()).Subject)
	})
	for name, c := range map[string]struct {
		header string
		status int
		body   string
	}{
		"nothing":      {"", 401, ""},
		"a lack":       {"Bearer " + issuer.Token(), 403, "{\"error\":\"insufficient_scope\",\"error_description\":\"The access token lacks a required scope\"}\n"},
		"a good token": {"Bearer " + issuer.Token(latchkeytest.Claims{"scope": "orders:read"}), 200, latchkeytest.Subject},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/orders", nil)
		if c.header != "" {
			r.Header.Set("Authorization", c.header)
		}
		router.ServeHTTP(w, r)
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s: %d %q", name, w.Code, w.Body)
		}
	}
}
