package handlers

import (
	"embed"
	"encoding/json"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/oauth"
)

var (
	//go:embed dev.html
	devHTML string
	//go:embed console/static
	devStatic embed.FS // the start page looks like the console, and works without it

	devPage = template.Must(template.New("dev").Parse(devHTML))
)

// devPolicy is the Content-Security-Policy of the start page.
const devPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// devView is the content of the start page.
type devView struct {
	Issuer  string
	Managed bool // the admin API and the console are at this address
	Steps   []devStep
}

// serveDev adds what development mode has.
func (e *edge) serveDev(r *gin.Engine) {
	public(r, "/", e.devHome)
	public(r, "/dev/static/:file", devFile)
	r.POST("/dev/client-token", e.devClientToken)
}

// devHome serves GET /, in development only: a page that explains what runs here and
// what to do next.
func (e *edge) devHome(c *gin.Context) {
	c.Header("Content-Security-Policy", devPolicy)
	c.Header("Content-Type", "text/html; charset=utf-8")
	if err := devPage.Execute(c.Writer, devView{e.Issuer, e.Admin != nil && e.AdminHere, devSteps(e.Issuer)}); err != nil {
		c.Error(err)
	}
}

// devFile serves a file of the start page.
func devFile(c *gin.Context) {
	name := "console/static/" + c.Param("file")
	if _, err := fs.Stat(devStatic, name); err != nil {
		notFound(c)
		return
	}
	c.FileFromFS(name, http.FS(devStatic))
}

// devRequest is a request for a client token of the demo issuer.
type devRequest struct {
	Sub    string         `json:"sub"`
	AMR    []string       `json:"amr"`
	Claims map[string]any `json:"claims"`
}

// devClientToken serves POST /dev/client-token, in development only: it issues
// a client token for any user. It rejects pages of other origins, and host
// names that resolve to this machine by DNS rebinding.
func (e *edge) devClientToken(c *gin.Context) {
	if !e.isLocal(c.Request) {
		writeRefusal(c, http.StatusForbidden, "access_denied", oauth.ReasonClientNotAllowed, "This endpoint accepts only requests from this machine to the issuer's own address")
		return
	}
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, oauth.MaxBody)
	request, err := readDevRequest(c)
	if err != nil || request.Sub == "" {
		writeRefusal(c, http.StatusBadRequest, "invalid_request", oauth.ReasonParameterInvalid, "sub is required, amr and claims (JSON) are optional; send a form or a JSON object")
		return
	}
	token, err := e.DevIssuer.Mint(request.Sub, request.AMR, request.Claims)
	if err != nil {
		c.Error(err)
		writeRefusal(c, http.StatusInternalServerError, "server_error", oauth.ReasonServerError, "The server encountered an unexpected condition")
		return
	}
	c.Header("Cache-Control", "no-store")
	if c.NegotiateFormat(gin.MIMEJSON, gin.MIMEPlain) == gin.MIMEPlain {
		c.String(http.StatusOK, token)
		return
	}
	c.JSON(http.StatusOK, gin.H{"client_token": token, "expires_in": oauth.ClientTokenTTL / time.Second})
}

// readDevRequest parses a form or a JSON object.
func readDevRequest(c *gin.Context) (request devRequest, err error) {
	if c.ContentType() == gin.MIMEJSON {
		d := json.NewDecoder(c.Request.Body)
		d.DisallowUnknownFields()
		return request, d.Decode(&request)
	}
	if err := c.Request.ParseForm(); err != nil {
		return request, err
	}
	form := c.Request.PostForm
	request.Sub = form.Get("sub")
	for _, value := range form["amr"] {
		request.AMR = append(request.AMR, strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	if claims := form.Get("claims"); claims != "" {
		err = json.Unmarshal([]byte(claims), &request.Claims)
	}
	return request, err
}

// isLocal reports whether the request comes from this machine and is sent to
// the issuer's own address. It checks the connection, not forwarding headers.
func (e *edge) isLocal(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return false
	}
	issuer, err := url.Parse(e.Issuer)
	if err != nil || r.Host != issuer.Host && r.Host != net.JoinHostPort("127.0.0.1", issuer.Port()) {
		return false
	}
	origin := r.Header.Get("Origin")
	return origin == "" || origin == e.Issuer
}
