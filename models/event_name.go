package models

import (
	"fmt"
	"strings"

	"github.com/latchkey/latchkey/session"
)

// reasonPlace is the placeholder of the end reason in an outward name.
const reasonPlace = "{end reason}"

// eventName is how a stored type appears outside the database.
type eventName struct {
	outward      string // empty: metrics use the stored type, and event receivers do not get it
	countedAsEnd bool   // written together with session_ended, which counts for both
	warning      string // message of the log line; empty: none
}

// eventNames has every stored type. docs/errors.md has the same table.
var eventNames = map[EventType]eventName{
	EventSessionCreated:     {outward: "session.created"},
	EventSessionEnded:       {outward: "session.ended." + reasonPlace},
	EventSessionSteppedUp:   {outward: "session.stepped_up"},
	EventSessionExtended:    {outward: "session.extended"},
	EventRefreshRetriedLate: {outward: "session.refresh_retried_late", warning: "a used refresh token was accepted late from another device or address than the session's last use: one of the two may be an attacker"},
	EventRefreshShared:      {outward: "session.refresh_shared", warning: "two parties seem to share the refresh tokens of a session: three generations in a row were retried from another address or user agent"},
	EventRefreshReuse: {outward: "session.ended." + string(session.ReuseDetected), countedAsEnd: true,
		warning: "a used refresh token was presented again, and its session was ended: the token may have been stolen"},
	EventGenerationRecovered: {outward: "session.recovered", warning: "the database had lost the last refresh of a session; it was repeated"},
	EventGenerationLost: {outward: "session.ended." + string(session.Inconsistent), countedAsEnd: true,
		warning: "a refresh token is newer than the database, and its session was ended: the database was restored, or has lost commits"},
	EventClientTokenReplayed: {outward: "client_token.replayed", warning: "a client token was presented again after its use"},
	EventStepUpRefused:       {outward: "client_token.refused", warning: "a step-up was rejected: the client token belongs to another user"},

	EventTenantDisabled:  {},
	EventClientDisabled:  {},
	EventIssuerDisabled:  {},
	EventUserDisabled:    {},
	EventTenantSuspended: {},
	EventClientSuspended: {},
	EventIssuerSuspended: {},
	EventUserSuspended:   {},
	EventUserSignedOut:   {},
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
	EventConfigExported:    {},
	EventClientTokenMinted: {},
	EventVerification:      {},
	EventStreamUpdated:     {},

	EventConsoleLinkCreated: {},
	EventConsoleSignedIn:    {},

	EventNewDevice: {outward: "session.new_device"},

	EventClientTokenRefused:         {outward: "client_token.refused"},
	EventClientAuthenticationFailed: {outward: "client.authentication_failed"},

	EventAdminKeyRefused: {warning: "an admin key was used that is revoked or has expired"},

	EventRefreshDuplicate: {},
	EventRefreshElsewhere: {},
	EventChainMismatch:    {warning: "a refresh token with this server's tag does not match its session: the database may have been restored, or others may know a root secret"},
	EventTokenRevoked:     {},
	EventDatabaseRestored: {},
	EventUserDeleted:      {},
	EventClaimLeftOut:     {warning: "custom claims left out"},
	EventAttributeLeftOut: {warning: "mapped attributes are longer than 4 KiB as JSON and were left out"},
	EventACRRuleFailed:    {warning: "acr rules failed"},
}

// Outward returns the name of the event in metrics and for event receivers: its
// outward name or, if it has none, its stored type.
func (e Event) Outward() string {
	return strings.Replace(e.pattern(), reasonPlace, string(e.endReason()), 1)
}

// pattern returns the outward name with the placeholder of the end reason.
func (e Event) pattern() string {
	if name := eventNames[e.Type].outward; name != "" {
		return name
	}
	return string(e.Type)
}

// endReason returns why the event's session ended.
func (e Event) endReason() session.EndReason {
	return session.EndReason(fmt.Sprint(e.Details["reason"])).Final()
}

// warning returns the message to log for the event; it is empty if there is
// none.
func (e Event) warning() string {
	if e.Type == EventRefreshRetriedLate && e.Details["elsewhere"] != true {
		return ""
	}
	return eventNames[e.Type].warning
}

// DeliveredVerification is the type of the event by which an event destination is
// verified. Its detail `destination` is the id of the only one that gets it.
const DeliveredVerification = "destination.verification"

// DeliveredStatus is the type of the event by which an event stream learns that an
// operator has changed its status. Only the stream that the detail `destination` names
// gets it, even if it is paused, so it always has a row: see Delivery.
const DeliveredStatus = "destination.updated"

// wholeEnds are the events that end every session of a user, a client, a trusted issuer
// or a tenant. Receivers get them as the end of sessions, of which they name none.
var wholeEnds = map[EventType]session.EndReason{
	EventTenantDisabled: session.TenantDisabled, EventTenantSuspended: session.TenantDisabled,
	EventClientDisabled: session.ClientDisabled, EventClientSuspended: session.ClientDisabled, EventClientRemoved: session.ClientDisabled,
	EventIssuerDisabled: session.IssuerDisabled, EventIssuerSuspended: session.IssuerDisabled, EventIssuerRemoved: session.IssuerDisabled,
	EventUserDisabled: session.UserDisabled, EventUserSuspended: session.UserDisabled,
	EventDatabaseRestored: session.Restored,
}

// Delivered returns the type under which event destinations get the event; it is empty
// if they do not get it.
func (e Event) Delivered() string {
	switch name := eventNames[e.Type]; {
	case e.Type == EventVerification:
		return DeliveredVerification
	case e.Type == EventStreamUpdated:
		return DeliveredStatus
	case wholeEnds[e.Type] != "":
		return "session.ended." + string(wholeEnds[e.Type])
	case name.outward == "" || name.countedAsEnd: // session_ended is delivered for both
		return ""
	}
	return e.Outward()
}
