package bff

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// maxEndpointBody bounds the body of a request to the endpoints.
const maxEndpointBody = 64 << 10

// endpoints serve the session to the scripts of the app's pages.
type endpoints struct {
	*BFF
	params latchkey.CreateParams
}

// Endpoints returns a handler through which scripts of the app's pages sign in,
// read the session, step up, sign out and list the user's sessions, without
// ever receiving a token. It is the server of the package @latchkey/sdk/bff,
// which expects it at /auth/:
//
//	mux.Handle("/auth/", http.StripPrefix("/auth", app.Endpoints(latchkey.CreateParams{Audience: audience})))
//
// p decides what new sessions are granted. Pages choose only the client token
// and its type, the device's name, and the demand.
//
// Every request needs the [CSRFHeader], even a GET. Bodies and responses are
// JSON; errors have the form of those of [BFF.Proxy], with the server's
// latchkey_reason and latchkey_end_reason if there are any.
func (b *BFF) Endpoints(p latchkey.CreateParams) http.Handler {
	e := endpoints{b, p}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /session", e.session)
	mux.HandleFunc("POST /session", e.create)
	mux.HandleFunc("DELETE /session", e.signOut)
	mux.HandleFunc("POST /step-up", e.stepUp)
	mux.HandleFunc("POST /refresh", e.refresh)
	mux.HandleFunc("GET /sessions", e.list)
	mux.HandleFunc("DELETE /sessions/{sid}", e.end)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "not_found") })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r, finish := b.renewCookie(w, r)
		defer finish()
		if b.origins.Check(r) != nil || r.Header.Get(CSRFHeader) == "" {
			refuse(w, http.StatusForbidden, "request_forged")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// session reports the session. A session that the server has ended is not an
// error here: the page learns that nobody is signed in, and why.
func (e endpoints) session(w http.ResponseWriter, r *http.Request) {
	h, s, err := e.find(r)
	var t latchkey.Tokens
	if err == nil {
		t, err = e.client.AccessToken(userAgentContext(r), s.Session)
	}
	switch {
	case err == nil:
		e.writeSession(w, t)
	case errors.Is(err, latchkey.ErrSessionEnded):
		e.forgetEnded(r, h)
		fallthrough
	case errors.Is(err, ErrNoSession):
		body := map[string]any{"session": nil}
		addEndReason(body, err)
		writeJSON(w, http.StatusOK, body)
	default:
		e.refuseSession(w, r, h, err)
	}
}

// create exchanges a client token for a session, and signs the browser in.
func (e endpoints) create(w http.ResponseWriter, r *http.Request) {
	in, ok := readProof(w, r)
	if !ok {
		return
	}
	p := e.params
	p.SubjectTokenType, p.Demand = in.SubjectTokenType, in.demand()
	if in.DeviceName != "" {
		p.DeviceName = in.DeviceName
	}
	s, err := e.client.CreateSession(userAgentContext(r), in.ClientToken, p)
	if err == nil {
		err = e.SignIn(w, r, s)
	}
	if err != nil {
		e.fail(w, r, err)
		return
	}
	e.writeSession(w, s.Tokens())
}

func (e endpoints) stepUp(w http.ResponseWriter, r *http.Request) {
	in, ok := readProof(w, r)
	if !ok {
		return
	}
	s, err := e.StepUp(w, r, in.ClientToken, latchkey.StepUpParams{SubjectTokenType: in.SubjectTokenType, Demand: in.demand()})
	if err != nil {
		e.fail(w, r, err)
		return
	}
	e.writeSession(w, s.Tokens())
}

func (e endpoints) refresh(w http.ResponseWriter, r *http.Request) {
	_, s, err := e.find(r)
	if err == nil {
		err = e.client.RefreshSession(userAgentContext(r), s.Session)
	}
	if err != nil {
		e.fail(w, r, err)
		return
	}
	e.writeSession(w, s.Tokens())
}

// fail responds to a request that could not be carried out. A refusal of what
// the page sent passes as the server gave it; one of the back end itself, such
// as invalid_client, does not.
func (e endpoints) fail(w http.ResponseWriter, r *http.Request, err error) {
	var refused *latchkey.Error
	if !errors.As(err, &refused) || errors.Is(err, latchkey.ErrSessionEnded) || errors.Is(err, latchkey.ErrUnavailable) ||
		refused.Code == "invalid_client" || refused.Code == "unauthorized_client" || refused.Code == "invalid_token" {
		h, _ := e.handle(r) // there is one if a session has ended
		e.refuseSession(w, r, h, err)
		return
	}
	body := map[string]any{"error": refused.Code}
	for name, text := range map[string]string{"error_description": refused.Description, "latchkey_reason": refused.Reason, "latchkey_end_reason": refused.EndReason} {
		if text != "" {
			body[name] = text
		}
	}
	writeJSON(w, refused.StatusCode, body)
}

// writeSession describes a session. The claims are those of its access token;
// the token itself stays here.
func (e endpoints) writeSession(w http.ResponseWriter, t latchkey.Tokens) {
	claims := map[string]any{}
	_ = wire.UnverifiedClaims(t.AccessToken, &claims) // the token came from the server; an opaque one has no claims
	writeJSON(w, http.StatusOK, map[string]any{"session": map[string]any{
		"id": t.SessionID, "expires_at": t.SessionExpiry.Unix(), "expires_in": max(0, int(t.Expiry.Sub(e.now())/time.Second)), "claims": claims,
	}})
}

// proof is the body of a sign-in or a step-up.
type proof struct {
	ClientToken      string   `json:"client_token"`
	SubjectTokenType string   `json:"subject_token_type"`
	DeviceName       string   `json:"device_name"`
	ACRValues        []string `json:"acr_values"`
	MaxAge           *uint32  `json:"max_age"` // in seconds
}

func (p proof) demand() latchkey.Demand {
	d := latchkey.Demand{ACRValues: p.ACRValues}
	if p.MaxAge != nil {
		age := time.Duration(*p.MaxAge) * time.Second
		d.MaxAge = &age
	}
	return d
}

// readProof reads a body, or responds with 400.
func readProof(w http.ResponseWriter, r *http.Request) (in proof, ok bool) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && mediaType == "application/json" {
		err = json.NewDecoder(http.MaxBytesReader(w, r.Body, maxEndpointBody)).Decode(&in)
	}
	if err != nil || in.ClientToken == "" {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_request", "error_description": "the body must be a JSON object with client_token"})
		return in, false
	}
	return in, true
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the browser may have left
}

// addEndReason adds why the server ended a session, if it did.
func addEndReason(body map[string]any, err error) {
	var refused *latchkey.Error
	if errors.As(err, &refused) && refused.EndReason != "" {
		body["latchkey_end_reason"] = refused.EndReason
	}
}
