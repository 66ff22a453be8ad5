package console

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
)

// signInForm is what the sign-in page shows.
type signInForm struct {
	Token   string // anti-forgery
	Next    string // the page to open afterwards
	Error   string // about the secret
	Current *models.AdminKey
	For     *models.AdminKey // the key of the link; nil: ask for a secret
	Secret  string           // the code of the link
}

// signInPage serves GET /console/sign-in. The code of a link is in the fragment of the
// URL, which the browser does not send: a script puts it into the form.
func (k *console) signInPage(c *gin.Context) {
	k.renderSignIn(c, http.StatusOK, signInForm{Next: c.Query("next")})
}

func (k *console) renderSignIn(c *gin.Context, status int, f signInForm) {
	f.Token = signInToken(c)
	f.Next = localPath(f.Next)
	if f.Current == nil {
		_, f.Current, _ = k.current(c)
	}
	write(c, status, &view{Title: "Sign in", Bare: true, name: "sign-in", Data: f})
}

// current returns the session of the browser and its admin key.
func (k *console) current(c *gin.Context) (*models.ConsoleSession, *models.AdminKey, error) {
	return k.Admin.OAuth.ConsoleSession(c.Request.Context(), readCookie(c, sessionCookie(c.Request)))
}

// signIn serves POST /console/sign-in: an admin key, or the code of a link. It first
// shows what a link signs in as, and redeems it when the operator has confirmed that.
// Likewise it replaces a session only if the form has shown that there is one.
func (k *console) signIn(c *gin.Context) {
	ctx, ip := c.Request.Context(), k.ClientIP(c.Request)
	form := c.Request.PostForm
	secret := strings.TrimSpace(form.Get("secret"))
	f := signInForm{Next: form.Get("next")}
	if secret == "" {
		f.Error = "Enter an admin key, or the code of a sign-in link"
		k.renderSignIn(c, http.StatusBadRequest, f)
		return
	}
	key, err := k.Admin.OAuth.AuthenticateConsole(ctx, secret, ip)
	if err != nil {
		k.refuseSignIn(c, f, err)
		return
	}
	_, f.Current, _ = k.current(c)
	isLink := keys.IsConsoleLink(secret)
	if told := f.Current == nil || form.Get("replace") == f.Current.ID; !told || isLink && form.Get("confirmed") == "" {
		if isLink { // an admin key must not be sent to the browser
			f.For, f.Secret = key, secret
		}
		k.renderSignIn(c, http.StatusOK, f)
		return
	}
	caller := &admin.Caller{Key: key, IP: ip, RequestID: c.Writer.Header().Get("X-Request-Id")}
	handle, err := k.Admin.OAuth.OpenConsole(ctx, key, secret, readCookie(c, sessionCookie(c.Request)), caller.Actor())
	if err != nil {
		k.refuseSignIn(c, f, err)
		return
	}
	setCookie(c, sessionCookie(c.Request), handle, models.ConsoleLifetime)
	setCookie(c, formCookie(c.Request), "", 0)
	next := localPath(f.Next)
	if next == "" {
		next = basePath
	}
	c.Redirect(http.StatusSeeOther, next)
}

func (k *console) refuseSignIn(c *gin.Context, f signInForm, err error) {
	var tooMany *oauth.TooManyFailuresError
	switch p := admin.ProblemOf(err); {
	case errors.As(err, &tooMany):
		seconds := int(tooMany.Wait.Seconds()) + 1
		c.Header("Retry-After", strconv.Itoa(seconds))
		f.Error = "Too many failed attempts from this address. Try again in " + plural(seconds, "second") + "."
		k.renderSignIn(c, http.StatusTooManyRequests, f)
	case errors.Is(err, oauth.ErrConsoleLink):
		f.Error = sentence(err.Error())
		k.renderSignIn(c, http.StatusUnauthorized, f)
	default:
		if p.Status >= http.StatusInternalServerError {
			c.Error(err)
		}
		f.Error = p.Detail
		k.renderSignIn(c, p.Status, f)
	}
}

// signOut serves POST /console/sign-out.
func (k *console) signOut(c *gin.Context) {
	session, _, err := k.current(c)
	if err == nil {
		err = k.Admin.Store.EndConsoleSession(c.Request.Context(), session.Digest)
	}
	if err != nil && !errors.Is(err, models.ErrNotFound) {
		k.fail(c, nil, err)
		return
	}
	setCookie(c, sessionCookie(c.Request), "", 0)
	c.Redirect(http.StatusSeeOther, basePath+"/sign-in")
}

// localPath returns the text if it is the path of a page of the console, perhaps with a
// query, and otherwise "".
func localPath(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || strings.ContainsAny(text, "\\\t\r\n") || !Serves(u.Path) || path.Clean(u.Path) != u.Path {
		return ""
	}
	return text
}
