package testsdk

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// gin's middleware is no http.Handler: it asks the resource itself.
func requireInGin(resource *latchkey.Resource, requirements ...latchkey.Requirement) gin.HandlerFunc {
	return func(c *gin.Context) {
		request, ok := resource.Check(c.Writer, c.Request, requirements...)
		if !ok {
			c.Abort()
			return
		}
		c.Request = request
	}
}

func TestTheMiddlewareWorksInGin(t *testing.T) {
	issuer := latchkeytest.New(t)
	o := issuer.Options()
	o.Revocation = latchkey.None
	v, err := latchkey.NewVerifier(issuer.URL, latchkeytest.Audience, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	resource, err := latchkey.NewResource(v, latchkey.ResourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	gin.SetMode(gin.TestMode)
	router := gin.New()
	router.GET("/orders", requireInGin(resource, latchkey.RequireScope("orders:read")), func(c *gin.Context) {
		c.String(http.StatusOK, latchkey.FromContext(c.Request.Context()).Subject)
	})
	for name, c := range map[string]struct {
		header string
		status int
		body   string
	}{
		"nothing":      {"", 401, ""},
		"a lack":       {"Bearer " + issuer.Token(), 403, "{\"error\":\"insufficient_scope\",\"error_description\":\"The access token lacks a scope\"}\n"},
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
