package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// control serves the control port. Bodies and responses are JSON:
//
//	POST /clock         {"advance": "48h"}            moves store time
//	POST /answers       {"lose": 1}                   loses the next responses to POST requests after their commit
//	POST /answers       {"hold": 1}                   … holds them until they are released
//	POST /answers/held                                waits until a response is held
//	POST /answers/release                             sends the held responses
//	POST /bff/answers   {"lose": 1}                   does the same to the responses of the back end
//	POST /feed          {"end": true}                 ends the open revocation streams
//	POST /feed          {"down": true}                … and fails new ones, until {"down": false}
//	POST /feed          {"paused": true}              keeps streams open and silent, until {"paused": false}
//	POST /client-token  {"sub": "a", "claims": {}}    returns a client token of the trusted issuer: {"token": "…"}
//	GET  /sessions?sub=a                              returns the user's live sessions, with their working refresh chains
type control struct {
	server  *testserver.Server
	issuer  *testserver.Issuer
	network *testserver.Network
	bff     *testserver.Network // between the browser and the back end
}

// listen serves the control port on a loopback address, which it returns.
func (c *control) listen(t testing.TB) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: c.routes(), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // until it is closed
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}

func (c *control) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /clock", handle(c.moveClock))
	for path, n := range map[string]*testserver.Network{"POST /answers": c.network, "POST /bff/answers": c.bff} {
		mux.HandleFunc(path, handle(func(_ context.Context, in answers) (any, error) {
			in.apply(n)
			return nothing{}, nil
		}))
		mux.HandleFunc(path+"/held", handle(func(ctx context.Context, _ nothing) (any, error) { return nothing{}, n.WaitHeld(ctx) }))
		mux.HandleFunc(path+"/release", handle(func(context.Context, nothing) (any, error) {
			n.Release()
			return nothing{}, nil
		}))
	}
	mux.HandleFunc("POST /feed", handle(c.setFeed))
	mux.HandleFunc("POST /client-token", handle(c.clientToken))
	mux.HandleFunc("GET /sessions", c.sessions)
	return mux
}

// handle reads a body into In and writes what fn returns.
func handle[In any](fn func(context.Context, In) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&in); err != nil && r.ContentLength != 0 {
			http.Error(w, fmt.Sprintf("the body of %s is not valid: %v", r.URL.Path, err), http.StatusBadRequest)
			return
		}
		write(w, fn, r.Context(), in)
	}
}

func write[In any](w http.ResponseWriter, fn func(context.Context, In) (any, error), ctx context.Context, in In) {
	out, err := fn(ctx, in)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // the caller may have left
}

type nothing struct{}

func (c *control) moveClock(_ context.Context, in struct{ Advance string }) (any, error) {
	d, err := time.ParseDuration(in.Advance)
	if err != nil || d < 0 {
		return nil, fmt.Errorf("advance must be a duration such as 48h, not %q", in.Advance)
	}
	c.server.Clock.Advance(d)
	return map[string]any{"now": c.server.Clock.Now()}, nil
}

// answers are what happens to the next responses of a network.
type answers struct{ Lose, Hold int }

func (a answers) apply(n *testserver.Network) {
	n.Lose(a.Lose)
	if a.Hold > 0 {
		n.Hold(a.Hold)
	}
}

func (c *control) setFeed(_ context.Context, in struct{ End, Down, Paused bool }) (any, error) {
	c.network.PauseFeed(in.Paused)
	c.network.FailFeed(in.Down)
	if in.End || in.Down {
		c.network.EndFeed()
	}
	return nothing{}, nil
}

func (c *control) clientToken(_ context.Context, in struct {
	Sub    string
	Claims map[string]any
}) (any, error) {
	if in.Sub == "" {
		return nil, fmt.Errorf("sub is missing")
	}
	return map[string]string{"token": c.issuer.Token(c.server.URL, in.Sub, in.Claims)}, nil
}

// sessionState is a live session. Each has at most one refresh chain.
type sessionState struct {
	ID         string `json:"id"`
	LiveChains int    `json:"live_chains"`
	Generation uint32 `json:"generation"`
}

func (c *control) sessions(w http.ResponseWriter, r *http.Request) {
	write(w, func(ctx context.Context, sub string) (any, error) {
		now := c.server.Store.Now()
		rows, err := c.server.Store.Sessions(ctx, settings.DefaultTenant, sub, now, models.SessionCursor{}, 100)
		if err != nil {
			return nil, err
		}
		list := []sessionState{}
		for _, row := range rows {
			s := sessionState{ID: row.ID.String(), Generation: row.Refresh.Generation}
			if len(row.Refresh.Digest) > 0 {
				s.LiveChains = 1
			}
			list = append(list, s)
		}
		return map[string]any{"sessions": list}, nil
	}, r.Context(), r.FormValue("sub"))
}
