package bff

import (
	"context"
	"errors"
	"net/http"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// signOut ends the sessions of a scope, as the server's session API names them.
func (e endpoints) signOut(w http.ResponseWriter, r *http.Request) {
	var err error
	switch r.FormValue("scope") {
	case "", "current":
		err = e.SignOut(w, r)
	case "others":
		err = e.withToken(r, e.client.EndOtherSessions)
	case "all":
		if err = e.withToken(r, e.client.EndAllSessions); err == nil || isOver(err) {
			err = e.SignOut(w, r)
		}
	default:
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_request", "error_description": "scope must be current, others or all"})
		return
	}
	e.finish(w, r, err)
}

// list returns the user's sessions in the form of the server's session API.
func (e endpoints) list(w http.ResponseWriter, r *http.Request) {
	items := []*latchkey.SessionDetails{}
	err := e.withToken(r, func(ctx context.Context, token string) error {
		items = items[:0]
		for s, err := range e.client.Sessions(ctx, token) {
			if err != nil {
				return err
			}
			items = append(items, s)
		}
		return nil
	})
	if err != nil {
		e.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"items": items, "next_cursor": nil})
}

// end ends one of the user's sessions. The browser's own loses its cookie, too.
func (e endpoints) end(w http.ResponseWriter, r *http.Request) {
	sid := r.PathValue("sid")
	if _, s, err := e.find(r); err == nil && s.ID() == sid {
		e.finish(w, r, e.SignOut(w, r))
		return
	}
	e.finish(w, r, e.withToken(r, func(ctx context.Context, token string) error { return e.client.EndSession(ctx, token, sid) }))
}

func (e endpoints) finish(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		e.fail(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// withToken calls the session API with the session's access token. If the
// server rejects the token, which may predate a change, it is replaced once.
func (e endpoints) withToken(r *http.Request, call func(ctx context.Context, token string) error) error {
	_, s, err := e.find(r)
	if err != nil {
		return err
	}
	ctx := userAgentContext(r)
	t, err := e.client.AccessToken(ctx, s.Session)
	if err != nil {
		return err
	}
	if err = call(ctx, t.AccessToken); !errors.Is(err, latchkey.ErrInvalidToken) {
		return err
	}
	if t, err = e.client.ReplaceToken(ctx, s.Session, latchkey.Target{}, t.AccessToken); err != nil {
		return err
	}
	return call(ctx, t.AccessToken)
}

// isOver reports whether err means that nobody is signed in.
func isOver(err error) bool {
	return errors.Is(err, ErrNoSession) || errors.Is(err, latchkey.ErrSessionEnded)
}
