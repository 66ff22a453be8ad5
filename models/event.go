package models

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// EventType is the type of an Event.
type EventType string

// The types of events.
const (
	EventSessionCreated      EventType = "session_created"
	EventSessionEnded        EventType = "session_ended"
	EventSessionSteppedUp    EventType = "session_raised"        // a further factor was proved
	EventStepUpRefused       EventType = "step_up_refused"       // the client token was another user's
	EventSessionExtended     EventType = "session_extended"      // a back end moved its absolute expiry
	EventRefreshReuse        EventType = "refresh_reuse"         // a used refresh token was presented again; the session was ended
	EventRefreshRetriedLate  EventType = "refresh_retried_late"  // a used refresh token was accepted after its retry window; its successor was unused
	EventRefreshDuplicate    EventType = "refresh_duplicate"     // a delayed duplicate was refused
	EventRefreshElsewhere    EventType = "refresh_elsewhere"     // a retry came from another address or user agent
	EventRefreshShared       EventType = "refresh_shared"        // three such generations in a row
	EventGenerationRecovered EventType = "generation_recovered"  // the database had lost its last commit
	EventGenerationLost      EventType = "generation_lost"       // the database had lost more commits; the session was ended
	EventChainMismatch       EventType = "chain_mismatch"        // a token has this server's tag but does not match its session
	EventClientTokenReplayed EventType = "client_token_replayed" // a used client token was presented again, for the first time
	EventClaimLeftOut        EventType = "claim_left_out"        // a custom claim failed or was too large
	EventUserDeleted         EventType = "user_deleted"          // its subject is the pseudonym that replaces the user
	EventAttributeLeftOut    EventType = "attribute_left_out"    // a mapped attribute was too long to store
	EventACRRuleFailed       EventType = "acr_rule_failed"       // a rule of the tenant could not be evaluated
	EventTokenRevoked        EventType = "token_revoked"         // an access token without a session
	EventTenantDisabled      EventType = "tenant_disabled"       // and with it all its sessions created before
	EventClientDisabled      EventType = "client_disabled"       // likewise
	EventIssuerDisabled      EventType = "issuer_disabled"       // likewise
	EventUserDisabled        EventType = "user_disabled"         // likewise
	EventTenantSuspended     EventType = "tenant_suspended"      // likewise, by an operator's command
	EventClientSuspended     EventType = "client_suspended"      // likewise
	EventIssuerSuspended     EventType = "issuer_suspended"      // likewise
	EventUserSuspended       EventType = "user_suspended"        // likewise
	EventUserSignedOut       EventType = "user_signed_out"       // everywhere, by their identity provider
	EventTenantResumed       EventType = "tenant_resumed"        // a suspension was lifted
	EventClientResumed       EventType = "client_resumed"        // likewise
	EventIssuerResumed       EventType = "issuer_resumed"        // likewise
	EventUserResumed         EventType = "user_resumed"          // likewise
	EventTenantRemoved       EventType = "tenant_removed"        // likewise
	EventClientRemoved       EventType = "client_removed"        // likewise
	EventDatabaseRestored    EventType = "database_restored"     // from a backup: likewise
	EventIssuerRemoved       EventType = "issuer_removed"        // likewise
	EventConfigChanged       EventType = "config_changed"        // by whom, and what
	EventKeyRotated          EventType = "key_rotated"           // a new signing key was announced
	EventKeyRetired          EventType = "key_retired"           // a signing key was taken out of service
	EventSessionsExported    EventType = "sessions_exported"     // by whom
	EventConfigExported      EventType = "config_exported"       // by whom
	EventClientTokenMinted   EventType = "client_token_minted"   // for a back end or an operator
	EventAdminKeyRefused     EventType = "admin_key_refused"     // it was revoked or has expired
	EventConsoleLinkCreated  EventType = "console_link_created"  // for an admin key, by a command
	EventConsoleSignedIn     EventType = "console_signed_in"     // with an admin key, or with a link
	EventClientTokenRefused  EventType = "client_token_refused"  // at most one a minute for each reason, client and network
	EventNewDevice           EventType = "session_new_device"    // the first session of a user from a network and product

	EventClientAuthenticationFailed EventType = "client_authentication_failed" // likewise

	EventVerification  EventType = "destination_verified" // for one event destination, which asked for it or is to be tested
	EventStreamUpdated EventType = "stream_updated"       // an operator has paused or enabled an event stream
)

// Event is one entry of the append-only log, written in the transaction that it
// describes.
type Event struct {
	At        time.Time
	TenantID  string
	Type      EventType
	SessionID *SessionID
	ClientID  string
	IssuerID  string
	Subject   string
	Until     time.Time      // of a revocation: when the last affected access token expires
	Details   map[string]any // JSON; never a secret or a token

	Cause any // for the log line only; may be long

	unless      *statement // if this query finds a row, nothing is recorded
	extraChange *statement // a further change of the same statement
	extendUntil bool       // add the longest lifetime of the client's access tokens to Until
	ended       time.Time  // when the session expired, if the event is later
	id          *EventID   // nil: a new one
	after       int64      // how many events of the session its transaction has written before, which order its id
	repeated    bool       // an earlier event recorded the same: this one is not counted
}

const eventColumns = "at, id, tenant_id, type, session_id, client_id, issuer_id, subject, details, until"

// values returns the values of eventColumns and their places in a statement.
func (e Event) values() (places string, values []any, err error) {
	details, err := json.Marshal(e.Details)
	if err != nil {
		return "", nil, fmt.Errorf("event %s: %w", e.Type, err)
	}
	var id [16]byte
	rand.Read(id[8:])
	binary.BigEndian.PutUint64(id[:8], uint64(e.At.UnixMicro()+e.after))
	if e.id != nil {
		id = *e.id
	}
	var sid any // an empty slice would not be NULL on SQLite
	if e.SessionID != nil {
		sid = e.SessionID[:]
	}
	until, end := "?", []any{At(e.Until)}
	if e.extendUntil {
		until, end = "? + "+longestAccess, []any{At(e.Until), At(e.At), e.TenantID, e.ClientID, settings.Duration(session.MaxAccessTTL)}
	}
	values = []any{At(e.At), id[:], e.TenantID, string(e.Type), sid, e.ClientID, e.IssuerID, e.Subject, string(details)}
	return "?, ?, ?, ?, ?, ?, ?, ?, ?, " + until, append(values, end...), nil
}

func insertEvent(db *gorm.DB, e Event) error {
	e.after = earlierOfSession(db, e)
	places, values, err := e.values()
	if err != nil {
		return err
	}
	noteWritten(db, e)
	return db.Exec("INSERT INTO events ("+eventColumns+") VALUES ("+places+")", values...).Error
}

// record makes a change of at most one row and, if it found one, writes the
// event.
func (s *Store) record(db *gorm.DB, e Event, change string, args ...any) error {
	_, err := s.recordIf(db, e, change, args...)
	return err
}

// recordIf is record, and reports whether the change found a row.
func (s *Store) recordIf(db *gorm.DB, e Event, change string, args ...any) (found bool, err error) {
	s.recent.note(e, s.Now())
	e.after = earlierOfSession(db, e)
	places, values, err := e.values()
	if err != nil {
		return false, err
	}
	with, args, err := s.dialect.withChange(db, change, args...)
	if err != nil {
		return false, err
	}
	if with, args, err = s.dialect.withExtraChange(db, with, args, e.extraChange); err != nil {
		return false, err
	}
	record, args := with+"INSERT INTO events ("+eventColumns+") SELECT "+places+" FROM changed", append(args, values...)
	if e.unless != nil {
		record, args = record+" WHERE NOT EXISTS ("+e.unless.text+")", append(args, e.unless.args...)
	}
	done := db.Exec(record, args...)
	if found = done.Error == nil && done.RowsAffected > 0; found {
		noteWritten(db, e)
	}
	return found, done.Error
}

// SessionEvents lists a session's events, oldest first, at most 100.
func (s *Store) SessionEvents(ctx context.Context, tenant string, id SessionID) ([]Event, error) {
	var rows []struct {
		At                          Time
		Type                        EventType
		ClientID, IssuerID, Subject string
		Details                     string
	}
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw(`SELECT at, type, client_id, issuer_id, subject, details FROM events
			WHERE session_id = ? AND tenant_id = ? ORDER BY id LIMIT 100`, id, tenant).Scan(&rows).Error
	})
	if err != nil {
		return nil, err
	}
	var events []Event
	for _, row := range rows {
		e := Event{
			At: row.At.Time, TenantID: tenant, Type: row.Type, SessionID: &id,
			ClientID: row.ClientID, IssuerID: row.IssuerID, Subject: row.Subject,
		}
		if err := json.Unmarshal([]byte(row.Details), &e.Details); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}
