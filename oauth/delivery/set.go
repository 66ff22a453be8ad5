package delivery

import (
	"cmp"
	"context"
	"strings"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// Types of security events.
const (
	caepType         = "https://schemas.openid.net/secevent/caep/event-type/"
	verificationType = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	updatedType      = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
)

// EventTypes are the types of security events that are sent.
var EventTypes = []string{caepType + "session-revoked", caepType + "session-established", caepType + "assurance-level-change"}

// securityType returns the type of security event that an event becomes; empty: none.
func securityType(outward string) string {
	switch {
	case strings.HasPrefix(outward, "session.ended."):
		return caepType + "session-revoked"
	case outward == "session.created":
		return caepType + "session-established"
	case outward == "session.stepped_up":
		return caepType + "assurance-level-change"
	case outward == models.DeliveredVerification:
		return verificationType
	case outward == models.DeliveredStatus:
		return updatedType
	}
	return ""
}

// SecurityEvent returns the security event token (RFC 8417) of an event. It is the same
// in every repetition except for its signature's key and its iat.
func (d *Deliverer) SecurityEvent(ctx context.Context, row *models.Destination, e models.ListedEvent) (string, error) {
	issuer := d.o.Issuer(e.TenantID)
	about := subject(row, issuer, e)
	if endsIssuer(e) {
		entry, err := d.entryID(ctx, e)
		if err != nil {
			return "", err
		}
		about["issuer"] = map[string]any{"format": "opaque", "id": entry}
	}
	outward := e.Delivered()
	event := map[string]any{"event_timestamp": e.At.Unix()}
	claims := map[string]any{
		"iss": issuer, "jti": e.ID.String(), "iat": d.store.Now().Unix(), "txn": e.ID.String(),
		"aud":    Audience(row),
		"sub_id": about,
		"events": map[string]any{securityType(outward): event},
	}
	details := e.Details
	switch {
	case outward == models.DeliveredVerification:
		clear(event)
		if state, has := details["state"].(string); has {
			event["state"] = state
		}
		claims["sub_id"] = map[string]any{"format": "opaque", "id": row.ID}
	case outward == models.DeliveredStatus:
		clear(event)
		event["status"], event["reason"] = details["status"], details["reason"]
		claims["sub_id"] = map[string]any{"format": "opaque", "id": row.ID}
	case strings.HasPrefix(outward, "session.ended."):
		reason := strings.TrimPrefix(outward, "session.ended.")
		event["initiating_entity"] = initiator(reason)
		event["reason_admin"] = map[string]string{"en": reason}
	default:
		for _, name := range []string{"acr", "amr"} {
			if value, has := details[name]; has && outward == "session.created" {
				event[name] = value
			}
		}
		if outward == "session.stepped_up" {
			event["namespace"], event["current_level"] = "RFC6711", cmp.Or(text(details["acr"]), noLevel)
			before := text(details["previous_acr"])
			if before != "" {
				event["previous_level"] = before
			}
			if before != event["current_level"] { // the factor may have added to no class
				event["change_direction"] = "increase"
			}
		}
		if e.SessionID != nil && outward == "session.created" {
			event["ext_id"] = e.SessionID.String()
		}
	}
	return d.o.Sign(ctx, e.TenantID, claims)
}

// noLevel is the level of a session that reaches no class (OpenID Connect Core 1.0 §2).
const noLevel = "0"

func text(value any) string {
	text, _ := value.(string)
	return text
}

// Audience returns the aud of the tokens of a destination.
func Audience(row *models.Destination) string {
	return cmp.Or(row.Settings.Audience, row.Settings.Client, row.Settings.URL)
}

// subject returns sub_id (RFC 9493). Where it has no session, all sessions of what it
// names have ended.
func subject(row *models.Destination, issuer string, e models.ListedEvent) map[string]any {
	user := map[string]any{"format": "iss_sub", "iss": issuer, "sub": e.Subject}
	if row.Settings.Subject == settings.SubjectIssSub && e.Subject != "" {
		return user
	}
	s := map[string]any{"format": "complex", "tenant": map[string]any{"format": "opaque", "id": e.TenantID}}
	if e.SessionID != nil {
		s["session"] = map[string]any{"format": "opaque", "id": e.SessionID.String()}
	}
	if e.Subject != "" {
		s["user"] = user
	}
	if e.ClientID != "" && e.SessionID == nil {
		s["application"] = map[string]any{"format": "opaque", "id": e.ClientID}
	}
	return s
}

// endsIssuer reports whether an event ends every session of a trusted issuer. Without
// the issuer, its subject would be the whole tenant.
func endsIssuer(e models.ListedEvent) bool {
	return e.IssuerID != "" && e.SessionID == nil && e.Subject == "" && e.ClientID == ""
}

// initiator returns initiating_entity (CAEP 1.0 §2).
func initiator(reason string) string {
	switch reason {
	case "signed_out", "revoked_by_user":
		return "user"
	case "revoked_by_admin", "user_disabled", "client_disabled", "issuer_disabled", "tenant_disabled":
		return "admin"
	case "idle", "absolute", "evicted":
		return "policy"
	}
	return "system"
}
