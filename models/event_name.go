package models

import (
	"fmt"
	"strings"

	"github.com/latchkey/latchkey/session"
)

// reasonPlace stands in an outward name for the end reason.
const reasonPlace = "{end reason}"

// eventName is what the world outside sees of a stored type.
type eventName struct {
	outward string // empty: only the operator's log has it, and metrics use the stored type
	beside  bool   // it comes with session_ended, which is counted for both
	warning string // a line of the log, for what a person should look at
}

// eventNames has every stored type. docs/errors.md has the same table.
var eventNames = map[EventType]eventName{
	EventSessionCreated:     {outward: "session.created"},
	EventSessionEnded:       {outward: "session.ended." + reasonPlace},
	EventSessionRaised:      {outward: "session.stepped_up"},
	EventSessionExtended:    {outward: "session.extended"},
	EventRefreshRetriedLate: {outward: "session.refresh_retried_late", warning: "a used refresh token was answered late to another device or address than used the session last: one of the two may be a thief"},
	EventRefreshShared:      {outward: "session.refresh_shared", warning: "two parties seem to share the refresh tokens of a session: three generations in a row were retried from elsewhere"},
	EventRefreshReuse: {outward: "session.ended." + string(session.ReuseDetected), beside: true,
		warning: "a used refresh token was shown again, and its session was ended: the token may have been stolen"},
	EventGenerationRecovered: {outward: "session.recovered", warning: "the database had lost the last refresh of a session; it was made again"},
	EventGenerationLost: {outward: "session.ended." + string(session.Inconsistent), beside: true,
		warning: "a refresh token is newer than the database, and its session was ended: the database was restored, or has lost commits"},
	EventClientTokenReplayed: {outward: "client_token.replayed", warning: "a client token was shown again after its use"},
	EventStepUpRefused:       {outward: "client_token.refused", warning: "a step-up was refused: the client token is another user's"},

	EventTenantDisabled:  {},
	EventClientDisabled:  {},
	EventIssuerDisabled:  {},
	EventUserDisabled:    {},
	EventTenantSuspended: {},
	EventClientSuspended: {},
	EventIssuerSuspended: {},
	EventUserSuspended:   {},
	EventTenantResumed:   {},
	EventClientResumed:   {},
	EventIssuerResumed:   {},
	EventUserResumed:     {},
	EventTenantRemoved:   {},
	EventClientRemoved:   {},
	EventIssuerRemoved:   {},

	EventConfigChanged: {outward: "config.changed"},
	EventKeyRotated:    {outward: "key.rotated"},
	EventKeyRetired:    {outward: "key.retired"},

	EventSessionsExported:  {},
	EventClientTokenMinted: {},
	EventAdminKeyRefused:   {warning: "an admin key was used that is revoked or has expired"},

	EventRefreshDuplicate: {},
	EventRefreshElsewhere: {},
	EventChainMismatch:    {warning: "a refresh token of ours has a secret that does not belong to its session: suspect a restored database, or a root secret that others know"},
	EventTokenRevoked:     {},
	EventDatabaseRestored: {},
	EventUserDeleted:      {},
	EventClaimLeftOut:     {warning: "custom claims left out"},
	EventAttributeLeftOut: {warning: "mapped attributes are longer than 4 KiB as JSON and were left out"},
	EventACRRuleFailed:    {warning: "acr rules failed"},
}

// Outward is the name of the event in metrics and for those who receive events:
// what the world calls it, or else its stored type.
func (e Event) Outward() string {
	return strings.Replace(e.pattern(), reasonPlace, string(e.endReason()), 1)
}

// pattern is the outward name with a place for the end reason.
func (e Event) pattern() string {
	if name := eventNames[e.Type].outward; name != "" {
		return name
	}
	return string(e.Type)
}

// endReason is why the session ended that the event is about.
func (e Event) endReason() session.EndReason {
	return session.EndReason(fmt.Sprint(e.Details["reason"])).Final()
}

// warning is the line that the log has of the event; empty: none.
func (e Event) warning() string {
	if e.Type == EventRefreshRetriedLate && e.Details["elsewhere"] != true {
		return ""
	}
	return eventNames[e.Type].warning
}
