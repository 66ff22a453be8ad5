package console

import (
	"strings"
	"time"

	"github.com/latchkey/latchkey/handlers/admin"
)

// endReasons has the reasons for which a session ends, as a sentence that follows
// "Ended: ".
var endReasons = map[string]string{
	"signed_out":         "the user signed out",
	"revoked_by_user":    "the user signed out on another device",
	"revoked_by_backend": "a back end or the identity provider ended it",
	"revoked":            "a back end ended it",
	"revoked_by_admin":   "an administrator ended it",
	"reuse_detected":     "a used refresh token was sent again",
	"inconsistent":       "the database was older than the refresh token",
	"restored":           "the database was restored from a backup",
	"idle":               "it was not used in time",
	"absolute":           "it reached its maximum age",
	"evicted":            "a newer session of the user replaced it",
	"user_disabled":      "the user was disabled",
	"client_disabled":    "the client was disabled or removed",
	"issuer_disabled":    "the trusted issuer was disabled or removed",
	"tenant_disabled":    "the tenant was disabled",
}

// endReason returns an end reason in words.
func endReason(reason string) string {
	if words, known := endReasons[reason]; known {
		return words
	}
	return strings.ReplaceAll(reason, "_", " ")
}

// eventWords has the title of each type of event, and the class of its mark.
var eventWords = map[string][2]string{
	"session.created":              {"Signed in", "good"},
	"session.stepped_up":           {"Proved a further factor", "info"},
	"session.extended":             {"Maximum age changed", ""},
	"session.refresh_retried_late": {"A used refresh token was accepted late", "warning"},
	"session.refresh_shared":       {"Two parties seem to share the refresh tokens", "warning"},
	"session.recovered":            {"The last refresh was repeated after the database had lost it", "warning"},
	"session.new_device":           {"First use of this device and network", "info"},
	"client_token.refused":         {"Client token rejected", "warning"},
	"client_token.replayed":        {"Client token sent again", "bad"},
	"client.authentication_failed": {"Client authentication failed", "warning"},
	"config.changed":               {"Configuration changed", ""},
	"key.rotated":                  {"Signing key announced", "info"},
	"key.retired":                  {"Signing key retired", "warning"},
	"tenant_disabled":              {"Tenant disabled", "bad"}, "tenant_suspended": {"Tenant suspended", "bad"}, "tenant_resumed": {"Suspension of the tenant lifted", "good"}, "tenant_removed": {"Tenant removed", "bad"},
	"client_disabled": {"Client disabled", "bad"}, "client_suspended": {"Client suspended", "bad"}, "client_resumed": {"Suspension of the client lifted", "good"}, "client_removed": {"Client removed", "bad"},
	"issuer_disabled": {"Trusted issuer disabled", "bad"}, "issuer_suspended": {"Trusted issuer suspended", "bad"}, "issuer_resumed": {"Suspension of the trusted issuer lifted", "good"}, "issuer_removed": {"Trusted issuer removed", "bad"},
	"user_disabled": {"User disabled", "bad"}, "user_suspended": {"User suspended", "bad"}, "user_resumed": {"Suspension of the user lifted", "good"},
	"user_signed_out": {"Signed out everywhere by the identity provider", "bad"}, "user_deleted": {"User deleted", "bad"},
	"database_restored":    {"Database restored from a backup", "bad"},
	"sessions_exported":    {"Sessions exported", "info"},
	"config_exported":      {"Configuration exported", "info"},
	"client_token_minted":  {"Client token minted", "info"},
	"destination_verified": {"Test event sent", ""},
	"admin_key_refused":    {"Invalid admin key used", "warning"},
	"console_link_created": {"Sign-in link created", "info"},
	"console_signed_in":    {"Signed in to the console", "info"},
	"refresh_duplicate":    {"Delayed copy of a refresh rejected", ""},
	"refresh_elsewhere":    {"Refresh retried from another device or address", "warning"},
	"chain_mismatch":       {"Refresh token does not match its session", "bad"},
	"token_revoked":        {"Access token revoked", ""},
	"claim_left_out":       {"Custom claims left out", "warning"},
	"attribute_left_out":   {"Mapped attributes left out", "warning"},
	"acr_rule_failed":      {"An assurance rule failed", "warning"},
}

// describeEvent returns the title of an event, and the class of its mark.
func describeEvent(e admin.Event) (title, class string) {
	if reason, ended := strings.CutPrefix(e.Type, "session.ended."); ended {
		return "Ended: " + endReason(reason), endClass(reason)
	}
	if words, known := eventWords[e.Type]; known {
		title, class = words[0], words[1]
	} else {
		title = e.Type
	}
	if e.Type == "config.changed" {
		title = describeChange(e.Details)
	}
	return title, class
}

// describeChange returns a change of the configuration in words, such as "Client
// created".
func describeChange(details map[string]any) string {
	kind, _ := details["kind"].(string)
	change, _ := details["change"].(string)
	if kind == "" || change == "" {
		return "Configuration changed"
	}
	kind = strings.ReplaceAll(kind, "_", " ")
	switch kind {
	case "issuer":
		kind = "trusted issuer"
	case "destination":
		kind = "event destination"
	}
	return strings.ToUpper(kind[:1]) + kind[1:] + " " + change
}

func endClass(reason string) string {
	switch reason {
	case "reuse_detected", "inconsistent", "chain_mismatch", "user_disabled", "client_disabled", "issuer_disabled", "tenant_disabled":
		return "bad"
	case "revoked_by_admin", "revoked_by_backend", "restored":
		return "warning"
	}
	return ""
}

// shownEvent is an event on a page.
type shownEvent struct {
	admin.Event
	Title string
	Class string
	When  moment
	Notes []note

	Checks []explainedCheck // of a refused client token
	Failed string           // the one that failed, in words
}

// note is a detail of an event.
type note struct{ Name, Value string }

// hiddenDetails are details that the title or a column of the page shows already.
var hiddenDetails = map[string]bool{"change": true, "kind": true, "fields": true, "actor": true, "request": true, "jti_digest": true, "checks": true}

func (v *visit) showEvent(e admin.Event) shownEvent {
	s := shownEvent{Event: e, When: when(e.At, v.now)}
	s.Title, s.Class = describeEvent(e)
	s.Checks = recordedChecks(e.Details)
	if c := failedCheck(s.Checks); c != nil {
		s.Failed = c.Title
	}
	if actor, ok := e.Details["actor"].(map[string]any); ok && valueText(actor["name"]) != "" {
		s.Notes = append(s.Notes, note{"by", strings.TrimSpace(valueText(actor["name"]) + " (" + valueText(actor["role"]) + ")")})
	}
	if fields, ok := e.Details["fields"].([]any); ok {
		var names []string
		for _, f := range fields {
			if f, ok := f.(map[string]any); ok {
				text := valueText(f["name"])
				if to, given := f["to"]; given {
					text += " = " + valueText(to)
				}
				names = append(names, text)
			}
		}
		s.Notes = append(s.Notes, v.noteOf("fields", strings.Join(names, ", ")))
	}
	for _, name := range sortedKeys(e.Details) {
		if !hiddenDetails[name] && e.Details[name] != nil && !(name == "reason" && strings.HasPrefix(e.Type, "session.ended.")) {
			s.Notes = append(s.Notes, v.noteOf(name, e.Details[name]))
		}
	}
	return s
}

// detailNames has the names of details in words, if they differ.
var detailNames = map[string]string{
	"amr": "with", "acr": "level", "iss": "issuer", "ip": "address", "user_agent": "device", "last_user_agent": "before from", "last_ip": "before from", "expires_at": "ends", "kid": "key", "why": "reason",
}

// noteOf returns a detail of an event in words.
func (v *visit) noteOf(name string, value any) note {
	n := note{spaced(name), valueText(value)}
	if words, known := detailNames[name]; known {
		n.Name = words
	}
	switch value := value.(type) {
	case []any:
		var parts []string
		for _, item := range value {
			parts = append(parts, valueText(item))
		}
		n.Value = strings.Join(parts, ", ")
	case float64:
		if name == "expires_at" || name == "before" || name == "restored_to" {
			n.Value = when(time.Unix(int64(value), 0), v.now).Exact
		}
	case string:
		switch name {
		case "user_agent", "last_user_agent":
			_, n.Value = readUserAgent(value)
		case "ip", "last_ip":
			if place := v.place(value); place != "" {
				n.Value += " (" + place + ")"
			}
		}
	}
	const most = 240 // characters
	if text := []rune(n.Value); len(text) > most {
		n.Value = string(text[:most]) + "…"
	}
	return n
}
