package models

import (
	"context"
	"encoding/json"
	"time"

	"gorm.io/gorm"
)

// StepUpRequest is one step-up: a further client token for an existing session.
type StepUpRequest struct {
	Tenant, Client string
	ID             SessionID
	Subject        string
	IssuerID       string     // trusted issuer entry of the client token
	Mapped         Mapped     // attributes from the client token
	Token          SpentToken // client token that the step-up uses up
	Upstream       *Upstream  // nil: the trusted issuer may not revoke
	At             time.Time
}

// StepUpSession changes a session in one transaction, which locks rows in the
// order of an exchange: it marks the client token as used, locks the user,
// checks again that everyone involved is enabled, and locks the session, so
// that concurrent step-ups see each other's changes. `decide` changes the row
// and returns the details of the event and further events, or an error; `sign`
// runs last. If either fails, nothing is committed. StepUpSession returns
// ErrNotFound if there is no such session or the session's own issuer is
// disabled.
func (s *Store) StepUpSession(ctx context.Context, r StepUpRequest, decide func(*Session) (details map[string]any, also []Event, err error), sign func(*Session) error) (*Session, error) {
	var changed *Session
	err := s.transaction(ctx, func(tx *gorm.DB) error {
		about := &Session{TenantID: r.Tenant, ClientID: r.Client, IssuerID: r.IssuerID, Subject: r.Subject, CreatedAt: r.At}
		token := r.Token
		var err error
		if token.loggedOutAt, err = lockUpstream(tx, about, r.Upstream); err != nil {
			return err
		}
		stored, err := s.spend(tx, about, token)
		if err != nil {
			return err
		}
		_, removed, err := s.applyToUser(tx, about, stored, token, r.Mapped, false)
		if err != nil {
			return err
		}
		if err := storeUpstreamSubject(tx, about, r.Upstream); err != nil {
			return err
		}
		row, err := readHistory(tx.Raw("SELECT "+sessionColumns+", "+historyColumns+" FROM sessions WHERE id = ? AND tenant_id = ? AND subject = ?"+permitted+s.dialect.forUpdate,
			r.ID, r.Tenant, r.Subject))
		if err != nil {
			return err
		}
		details, also, err := decide(row)
		if err != nil {
			return err
		}
		for _, e := range also {
			if err := insertEvent(tx, e); err != nil {
				return err
			}
		}
		e := row.Event(r.At, EventSessionSteppedUp, withRemoved(details, removed))
		e.extraChange = stored.seenUpdate(r.At)
		if err := s.updateSteppedUp(tx, row, e); err != nil {
			return err
		}
		changed = row
		return sign(row)
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

func (s *Store) updateSteppedUp(tx *gorm.DB, row *Session, e Event) error {
	factors, err := json.Marshal(row.Factors)
	if err != nil {
		return err
	}
	decided, err := row.decision()
	if err != nil {
		return err
	}
	late, up := row.History.LateRetry, row.History.StepUp
	before, err := up.before()
	if err != nil {
		return err
	}
	superseded, earlier := up.Superseded.split()
	var previous any // NULL: no refresh token was presented
	if row.History.PreviousRoot != 0 {
		previous = row.History.PreviousRoot
	}
	refresh, token := row.Refresh, row.SessionToken
	set, args := setList([]assignment{
		{"factors", string(factors)}, {"acr", row.StoredACR}, {"acr_times", decided}, {"auth_time", At(row.AuthTime)},
		{"last_active_at", At(row.LastActiveAt)}, {"absolute_expires_at", At(row.AbsoluteExpiry)}, {"idle_expires_at", At(row.IdleExpiry)},
		{"generation", refresh.Generation}, {"refresh_digest", refresh.Digest}, {"next_digest", refresh.Next},
		{"root_version", refresh.RootVersion}, {"rotated_at", At(refresh.RotatedAt)},
		{"session_token_generation", token.Generation}, {"session_token_digest", token.Digest}, {"session_token_next_digest", token.Next},
		{"session_token_root_version", token.RootVersion}, {"session_token_rotated_at", At(token.RotatedAt)},
		{"user_agent", row.UserAgent}, {"ip", row.IP}, {"previous_root_version", previous},
		{"late_retry_generation", late.Generation}, {"late_retried_at", At(late.At)}, {"late_retry_repeats", late.Repeats},
		{"step_up_generation", up.Generation}, {"step_up_tokens", up.Tokens}, {"step_up_before", before},
		{"superseded_from", superseded.From}, {"superseded_to", superseded.To}, {"superseded_earlier", earlier},
	})
	return s.record(tx, e, "UPDATE sessions SET "+set+" WHERE id = ?", append(args, row.ID)...)
}
