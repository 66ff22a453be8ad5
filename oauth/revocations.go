package oauth

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/models/tail"
	"github.com/latchkey/latchkey/settings"
)

const eventStream = "text/event-stream"

// Revocations serves {iss}/revocations: what has been revoked and might still
// be presented, as a document or as a stream. The caller is a confidential
// client that authenticates by HTTP Basic, and gets the revocations of tokens
// that it may introspect.
func (s *Server) Revocations(w http.ResponseWriter, r *http.Request, call *Call) {
	if err := s.revocations(w, r, call); err != nil {
		s.writeError(w, call, err)
	}
}

// revocations sends the document or the stream, or returns why it cannot be
// sent.
func (s *Server) revocations(w http.ResponseWriter, r *http.Request, call *Call) error {
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	if _, err := s.authenticateCaller(r.Context(), call, r, false); err != nil {
		return err
	}
	if err := call.Client.checkAudience(query["audience"]); err != nil {
		return err
	}
	if prefers(r, eventStream) {
		return s.streamRevocations(w, r, call, query)
	}
	since, err := requestedPosition(call.Client, query)
	if err != nil {
		return err
	}
	_, known, err := s.beginStream(call, since, nil, false)
	if err != nil {
		return err
	}
	return writeRevocations(w, known)
}

// writeRevocations writes a snapshot as a document that must not be cached.
func writeRevocations(w http.ResponseWriter, s *snapshot) error {
	head, err := json.Marshal(s.head)
	if err != nil {
		return err
	}
	text := append(head[:len(head)-1:len(head)-1], `,"revoked":[`...)
	for line := range bytes.Lines(s.lines) {
		text = append(text, bytes.TrimSuffix(line[len(linePrefix):], []byte("\n"))...)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	w.WriteHeader(http.StatusOK)
	_, err = w.Write(append(text, "]}"...))
	return err
}

// checkAudience rejects a reader that names the audience for which it verifies
// tokens, if the client may not see all revocations for that audience.
// Otherwise the reader would take their absence for "not revoked".
func (c *Client) checkAudience(audience []string) error {
	for _, a := range audience {
		if c.Settings.Introspect != settings.IntrospectAll && !c.isIn([]string{a}) {
			return &Error{Code: "unauthorized_client", Reason: ReasonClientNotAllowed, Status: http.StatusForbidden,
				Description: "The client may not follow revocations for this audience: it is not the client's id or one of its resource_identifiers"}
		}
	}
	return nil
}

// requestedPosition returns the position in the caller's cursor. It is zero if
// there is no cursor, or if it cannot be continued from.
func requestedPosition(c *Client, query url.Values) (tail.Position, error) {
	switch given := query["cursor"]; len(given) {
	case 0:
		return tail.Position{}, nil
	case 1:
		return parseCursor(c, given[0])
	default:
		return tail.Position{}, repeated("cursor")
	}
}

// snapshotHead is what a snapshot contains besides its entries.
type snapshotHead struct {
	Cursor string `json:"cursor"`
	AsOf   int64  `json:"as_of"`
}

// revokedEntry names what has been revoked: a session, a token without one, or
// everything that was issued before a point in time to a client, for a user, or
// for users of a trusted issuer.
type revokedEntry struct {
	SID      string `json:"sid,omitempty"`
	JTI      string `json:"jti,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	Issuer   string `json:"issuer,omitempty"`
	Sub      string `json:"sub,omitempty"`
	Before   int64  `json:"before,omitempty"`
	At       int64  `json:"at"`
	Until    int64  `json:"until"`
}

// entries returns the revocations that the client may see.
func entries(c *Client, revocations []*models.Revocation) []revokedEntry {
	list := []revokedEntry{}
	for _, r := range revocations {
		if !c.mayKnow(r) {
			continue
		}
		e := revokedEntry{At: r.At.Unix(), Until: r.Until.Add(time.Second - 1).Unix()} // rounded up
		if !r.Before.IsZero() {
			e.Before = r.Before.Unix()
		}
		switch {
		case r.SessionID != nil:
			e.SID = r.SessionID.String()
		case r.TokenID != "":
			e.JTI = r.TokenID
		case r.Subject != "":
			e.Sub = r.Subject
		case r.Issuer != "":
			e.Issuer = r.Issuer
		case r.ClientID != "":
			e.ClientID = r.ClientID
		default: // the whole tenant: every token names its client
			for _, id := range slices.Sorted(maps.Keys(c.tenant.clientIDs)) {
				e.ClientID = id
				list = append(list, e)
			}
			continue
		}
		list = append(list, e)
	}
	return list
}

// mayKnow reports whether the client may see a revocation: whether it may
// introspect what was revoked. The revocation of a whole client or issuer is
// not secret, and who has received its tokens is not known, so every client
// sees it.
func (c *Client) mayKnow(r *models.Revocation) bool {
	whole := r.SessionID == nil && r.TokenID == "" && r.Subject == ""
	return whole || c.Settings.Introspect == settings.IntrospectAll || r.ClientID == c.ID || c.isIn(r.Audience)
}
