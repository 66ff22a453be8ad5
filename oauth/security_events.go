package oauth

import (
	"context"
	"errors"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// maxEventAge limits the age of a security event: transmitters repeat a delivery
// that failed.
const maxEventAge = 24 * time.Hour

// revokingEvents are the events that sign a user out everywhere. Others are
// accepted and ignored.
var revokingEvents = []string{
	"https://schemas.openid.net/secevent/caep/event-type/session-revoked",
	"https://schemas.openid.net/secevent/risc/event-type/sessions-revoked",
	"https://schemas.openid.net/secevent/risc/event-type/account-disabled",
}

// securityEvents is the purpose of the tokens that {iss}/security-events accepts.
var securityEvents = &upstreamPurpose{
	name: "security-event", setting: "may_revoke", typ: "secevent+jwt",
	allows: func(s settings.IssuerSettings) bool { return s.MayRevoke },
	hasTyp: func(_ *issuerEntry, typ string) bool { return typ == "secevent+jwt" },
	oneAud: true,
	audience: func(t *Tenant, e *issuerEntry) []string {
		if e.Settings.SecurityEventAudience != "" {
			return []string{e.Settings.SecurityEventAudience}
		}
		return []string{t.Issuer + settings.SecurityEventsPath}
	},
	times: func(e *issuerEntry, at tokenTimes, now time.Time) (time.Time, *tokenFault) {
		if now.Sub(at.iat) > maxEventAge+e.leeway() {
			return time.Time{}, &tokenFault{why: "iat is more than 24 hours ago", received: timestamp(at.iat)}
		}
		return at.iat.Add(maxEventAge), nil
	},
}

// SecurityEvents serves POST {iss}/security-events (RFC 8935): the identity provider
// of a trusted issuer pushes security event tokens.
func (s *Server) SecurityEvents(w http.ResponseWriter, r *http.Request, call *Call) {
	err := s.receiveSecurityEvent(r.Context(), r, call)
	var fault *tokenFault
	switch {
	case err == nil:
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusAccepted)
		return
	case errors.As(err, &fault):
		if wait := s.failUpstream(call); wait > 0 {
			err = tooManyFailures(wait)
			break
		}
		err = invalidRequest(ReasonRevocationToken, "The security event token was rejected: "+fault.why).withCause(fault.cause).compare(fault.expected, fault.received)
		s.writeEventError(w, call, err, map[faultKind]string{faultIssuer: "invalid_issuer", faultAudience: "invalid_audience", faultKey: "invalid_key"}[fault.kind])
		return
	}
	if e := asError(err); e.Status == http.StatusBadRequest || e.Status == http.StatusRequestEntityTooLarge {
		s.writeEventError(w, call, err, "")
		return
	}
	s.writeError(w, call, err)
}

// writeEventError sends an error of RFC 8935 §2.3. Without a code it is
// invalid_request.
func (s *Server) writeEventError(w http.ResponseWriter, call *Call, err error, code string) {
	if code == "" {
		code = "invalid_request"
	}
	e := call.refused(err)
	call.Outcome = code
	writeJSON(w, e.Status, map[string]string{"err": code, "description": plainText(e.Description)})
}

// receiveSecurityEvent carries out what a security event token reports.
func (s *Server) receiveSecurityEvent(ctx context.Context, r *http.Request, call *Call) error {
	t := call.Tenant
	if _, err := parseQuery(r); err != nil {
		return err
	}
	if !t.allowsUpstream(securityEvents) {
		return notOffered("No trusted issuer of the tenant has may_revoke")
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || len(r.Header.Values("Content-Type")) > 1 || mediaType != "application/secevent+jwt" {
		return invalidRequest(ReasonRequestMalformed, "The body must be application/secevent+jwt")
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	u, err := s.verifyUpstream(ctx, t, string(body), securityEvents)
	if err != nil {
		return err
	}
	events, ok := u.claims["events"].(map[string]any)
	if !ok || len(events) == 0 {
		return &tokenFault{why: "events must be an object with a member"}
	}
	for _, name := range slices.Sorted(maps.Keys(events)) {
		if !slices.Contains(revokingEvents, name) {
			continue
		}
		payload, ok := events[name].(map[string]any)
		if !ok {
			return &tokenFault{why: "the event must be an object"}
		}
		return s.revokeByEvent(ctx, t, u, name, payload)
	}
	return nil
}

// revokeByEvent signs out the user of an event. An event about somebody who has no
// account here, and one that was delivered before, have nothing left to do: the
// transmitter must not repeat them.
func (s *Server) revokeByEvent(ctx context.Context, t *Tenant, u *upstreamToken, name string, payload map[string]any) error {
	id, err := eventSubject(u.claims, payload)
	if err != nil {
		return err
	}
	targets, err := id.targets(t, u.entries)
	if err == nil {
		actor := u.actor("security-event")
		actor["event"] = name[strings.LastIndex(name, "/")+1:]
		_, err = s.store.RevokeUsers(ctx, models.UpstreamCall{Tenant: t.ID, Token: u.spent, Targets: targets, Actor: actor})
	}
	var refused *Error
	if errors.Is(err, models.ErrNotFound) || errors.Is(err, models.ErrTokenSpent) || errors.As(err, &refused) && refused.Reason == ReasonRevocationUser {
		return nil
	}
	return err
}

// eventSubject returns the user whom an event is about: sub_id of the token or, as in
// earlier drafts, subject of the event. Of a complex subject it is the user, so that
// an event about one session of the provider ends all sessions of the user.
func eventSubject(claims, payload map[string]any) (subjectID, error) {
	id, ok := claims["sub_id"].(map[string]any)
	if !ok {
		id, ok = payload["subject"].(map[string]any)
	}
	if ok && id["format"] == "complex" || ok && id["format"] == nil && id["subject_type"] == nil {
		id, ok = id["user"].(map[string]any)
	}
	if !ok {
		return nil, &tokenFault{why: "sub_id must be a subject identifier that names a user"}
	}
	if kind, legacy := id["subject_type"].(string); legacy && id["format"] == nil { // RISC before SSF
		id = maps.Clone(id)
		id["format"] = strings.ReplaceAll(kind, "-", "_")
	}
	return id, nil
}
