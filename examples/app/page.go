package main

import (
	"context"
	"embed"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
)

// clientID is the id of the app at a Latchkey in development mode.
const clientID = "demo-web"

//go:embed page.html app.js latchkey.js app.css icon.svg
var files embed.FS

var page = template.Must(template.ParseFS(files, "page.html"))

// methods are the ways to sign in that the page offers, as the authentication
// service would report them (RFC 8176).
var methods = map[string]string{"password": "pwd", "passkey": "hwk"}

// audience is what the sessions of the app may be used for: the app itself, and its API.
var audience = []string{clientID, apiClientID}

// web is the app's server. The browser gets a cookie, but no token of the session.
type web struct {
	issuer string
	client *latchkey.Client
	bff    *bff.BFF
}

func newPage(issuer, api string) (*web, error) {
	client, err := latchkey.NewClient(issuer, clientID, latchkey.ClientOptions{})
	if err != nil {
		return nil, err
	}
	back, err := bff.New(bff.Options{Client: client, Loopback: true, Upstreams: map[string]bff.Upstream{
		"/api/": {URL: api, Target: latchkey.Target{Audience: []string{apiClientID}}},
	}})
	return &web{issuer, client, back}, err
}

// Close stops the background work.
func (p *web) Close() { p.bff.Close() }

// Handler serves the page, and forwards /api/ to the API.
func (p *web) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.show)
	mux.HandleFunc("POST /sign-in", p.signIn)
	mux.HandleFunc("POST /sign-out", p.signOut)
	mux.HandleFunc("POST /client-token", p.clientToken)
	mux.Handle("/auth/", http.StripPrefix("/auth", p.bff.Endpoints(latchkey.CreateParams{Audience: audience})))
	mux.HandleFunc("POST /devices/{sid}/sign-out", p.endDevice)
	mux.HandleFunc("POST /devices/sign-out-others", p.endOthers)
	mux.HandleFunc("POST /devices/sign-out-everywhere", p.endAll)
	mux.Handle("/api/", p.bff.Proxy())
	mux.Handle("GET /app.js", http.FileServerFS(files))
	mux.Handle("GET /latchkey.js", http.FileServerFS(files))
	mux.Handle("GET /app.css", http.FileServerFS(files))
	mux.Handle("GET /icon.svg", http.FileServerFS(files))
	return headers(p.bff.Protect(mux))
}

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// view is the content of the page. Without a user, the page shows the sign-in form.
type view struct {
	User      string
	Proof     string // how the user proved who they are in this session
	FormToken string
	Done      string // the result of the last form
	Ended     string // why the user is no longer signed in
	Devices   []device
	Endings   string // why a session may end, as JSON
}

func (p *web) show(w http.ResponseWriter, r *http.Request) {
	v := view{FormToken: p.bff.CSRFToken(r), Done: result(r.URL.Query()), Endings: endingsJSON()}
	err := p.load(r, &v)
	if err != nil && !over(err) {
		p.fail(w, r, err)
		return
	}
	if v.User == "" && v.Done == "" {
		v.Ended = endings[r.URL.Query().Get(endedParam)] // the script has learned it before this page
	}
	if errors.Is(err, latchkey.ErrSessionEnded) {
		if v.Done == "" {
			v.Ended = ending(err)
		}
		if err := p.bff.SignOut(w, r); err != nil { // the session was ended elsewhere
			p.fail(w, r, err)
			return
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err := page.Execute(w, v); err != nil {
		slog.ErrorContext(r.Context(), "show the page", "error", err)
	}
}

// load reads the user and their devices.
func (p *web) load(r *http.Request, v *view) error {
	return p.withToken(r, func(ctx context.Context, token string) error {
		v.Devices = nil
		for s, err := range p.client.Sessions(ctx, token) {
			if err != nil {
				return err
			}
			d := newDevice(s, time.Now())
			if v.Devices = append(v.Devices, d); d.Current {
				v.User, v.Proof = s.Subject, proof(s.AMR)
			}
		}
		return nil
	})
}

func (p *web) signIn(w http.ResponseWriter, r *http.Request) {
	method, ok := methods[r.PostFormValue("method")]
	user := r.PostFormValue("user")
	if !ok || user == "" {
		http.Error(w, "Enter a name, and choose how to sign in.", http.StatusBadRequest)
		return
	}
	token, err := clientToken(r.Context(), p.issuer, user, method)
	if err == nil {
		var s *latchkey.Session
		ctx := latchkey.WithUserAgent(r.Context(), r.UserAgent())
		if s, err = p.client.CreateSession(ctx, token, latchkey.CreateParams{
			Audience: audience, DeviceName: r.PostFormValue("device"),
		}); err == nil {
			err = p.bff.SignIn(w, r, s)
		}
	}
	p.back(w, r, err, doneNothing, 0)
}

func (p *web) signOut(w http.ResponseWriter, r *http.Request) {
	p.back(w, r, p.bff.SignOut(w, r), doneSignOut, 0)
}

// clientToken is the authentication service as the page's script calls it. The form of
// the page reaches it through signIn.
func (p *web) clientToken(w http.ResponseWriter, r *http.Request) {
	method, ok := methods[r.PostFormValue("method")]
	user := r.PostFormValue("user")
	if !ok || user == "" {
		http.Error(w, "user and method are required", http.StatusBadRequest)
		return
	}
	token, err := clientToken(r.Context(), p.issuer, user, method)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, token)
}

func (p *web) endDevice(w http.ResponseWriter, r *http.Request) {
	err := p.withToken(r, func(ctx context.Context, token string) error {
		return p.client.EndSession(ctx, token, r.PathValue("sid"))
	})
	p.back(w, r, err, doneDevice, 1)
}

func (p *web) endOthers(w http.ResponseWriter, r *http.Request) {
	var v view
	err := p.load(r, &v)
	if err == nil {
		err = p.withToken(r, p.client.EndOtherSessions)
	}
	p.back(w, r, err, doneOthers, len(v.Devices)-1)
}

func (p *web) endAll(w http.ResponseWriter, r *http.Request) {
	var v view
	err := p.load(r, &v)
	if err == nil {
		if err = p.withToken(r, p.client.EndAllSessions); err == nil {
			err = p.bff.SignOut(w, r)
		}
	}
	p.back(w, r, err, doneAll, len(v.Devices))
}

// withToken calls Latchkey with the access token of a request's session. If Latchkey
// rejects the token, it may predate a change: withToken refreshes it and retries once.
func (p *web) withToken(r *http.Request, call func(ctx context.Context, token string) error) error {
	s, err := p.bff.Session(r)
	if err != nil {
		return err
	}
	ctx := latchkey.WithUserAgent(r.Context(), r.UserAgent())
	t, err := p.client.AccessToken(ctx, s)
	if err != nil {
		return err
	}
	if err = call(ctx, t.AccessToken); !errors.Is(err, latchkey.ErrInvalidToken) {
		return err
	}
	if t, err = p.client.ReplaceToken(ctx, s, latchkey.Target{}, t.AccessToken); err != nil {
		return err
	}
	return call(ctx, t.AccessToken)
}

// back shows the page again after a form, with its result. If the session is over, the
// page says why instead.
func (p *web) back(w http.ResponseWriter, r *http.Request, err error, done string, devices int) {
	if err != nil && !over(err) {
		p.fail(w, r, err)
		return
	}
	if err != nil {
		done = doneNothing
	}
	http.Redirect(w, r, resultPath(done, devices), http.StatusSeeOther)
}

// fail never signs a user out, because a session that is not known to be over may continue.
func (p *web) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch rejected := (*latchkey.Error)(nil); {
	case errors.Is(err, latchkey.ErrUnavailable):
		w.Header().Set("Retry-After", "1")
		http.Error(w, "The sign-in service does not respond. You are still signed in: try again in a moment.", http.StatusServiceUnavailable)
	case over(err):
		http.Error(w, "You are signed out.", http.StatusUnauthorized)
	case errors.As(err, &rejected):
		http.Error(w, "The request was rejected.", http.StatusBadRequest)
	default:
		http.Error(w, "An internal error occurred.", http.StatusInternalServerError)
	}
	slog.WarnContext(r.Context(), "request failed", "path", r.URL.Path, "error", err)
}
