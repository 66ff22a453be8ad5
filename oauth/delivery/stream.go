package delivery

import (
	"slices"
	"strings"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// outwardTypes are the types of events, or the beginnings of types, that become the
// types of security events.
var outwardTypes = map[string]string{
	caepType + "session-revoked":        "session.ended.",
	caepType + "session-established":    "session.created",
	caepType + "assurance-level-change": "session.stepped_up",
}

// Requested returns the setting `events` of a receiver that requests these types of
// security events. It ignores types that are not sent. If none remains, the receiver
// gets only the events that verify its stream.
func Requested(types []string) (events []string) {
	for _, name := range EventTypes {
		if slices.Contains(types, name) {
			events = append(events, outwardTypes[name])
		}
	}
	if len(events) == 0 {
		return []string{models.DeliveredVerification}
	}
	return events
}

// Delivered returns the types of security events that a destination may get.
func Delivered(d settings.DestinationSettings) []string {
	types := []string{}
	for _, name := range EventTypes {
		outward := outwardTypes[name]
		if len(d.Events) == 0 || slices.ContainsFunc(d.Events, func(pattern string) bool {
			return strings.HasPrefix(outward, pattern) && (pattern == outward || strings.HasSuffix(pattern, ".")) ||
				strings.HasSuffix(outward, ".") && strings.HasPrefix(pattern, outward)
		}) {
			types = append(types, name)
		}
	}
	return types
}
