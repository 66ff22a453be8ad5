package models

import (
	"database/sql"
	"encoding/json"
	"errors"
	"strings"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// sessionRow is what a query with sessionColumns reads.
type sessionRow struct {
	ID       SessionID `gorm:"column:id"`
	TenantID string    `gorm:"column:tenant_id"`
	ClientID string    `gorm:"column:client_id"`
	IssuerID string    `gorm:"column:issuer_id"`
	Subject  string    `gorm:"column:subject"`

	CreatedAt      Time           `gorm:"column:created_at"`
	AuthTime       Time           `gorm:"column:auth_time"`
	LastActiveAt   Time           `gorm:"column:last_active_at"`
	AbsoluteExpiry Time           `gorm:"column:absolute_expires_at"`
	IdleExpiry     Time           `gorm:"column:idle_expires_at"`
	EndedAt        Time           `gorm:"column:ended_at"`
	EndReason      sql.NullString `gorm:"column:end_reason"`

	Generation    uint32        `gorm:"column:generation"`
	RefreshDigest []byte        `gorm:"column:refresh_digest"`
	NextDigest    []byte        `gorm:"column:next_digest"`
	RootVersion   sql.NullInt64 `gorm:"column:root_version"`
	RotatedAt     Time          `gorm:"column:rotated_at"`

	SessionTokenGeneration  uint32        `gorm:"column:session_token_generation"`
	SessionTokenDigest      []byte        `gorm:"column:session_token_digest"`
	SessionTokenNextDigest  []byte        `gorm:"column:session_token_next_digest"`
	SessionTokenRootVersion sql.NullInt64 `gorm:"column:session_token_root_version"`
	SessionTokenRotatedAt   Time          `gorm:"column:session_token_rotated_at"`

	Factors    string         `gorm:"column:factors"`
	ACR        *string        `gorm:"column:acr"`
	ACRTimes   sql.NullString `gorm:"column:acr_times"`
	Attributes string         `gorm:"column:session_attributes"`
	Scope      string         `gorm:"column:scope"`
	Audience   string         `gorm:"column:audience"`

	StatusIndex sql.NullInt64 `gorm:"column:status_index"`

	DeviceName string `gorm:"column:device_name"`
	UserAgent  string `gorm:"column:user_agent"`
	IP         string `gorm:"column:ip"`

	User sql.NullString `gorm:"column:user_attributes"` // of the user's row; NULL: there is none
}

var sessionColumns = strings.Replace(strings.Join(columnsOf[sessionRow](), ", "), "user_attributes",
	"(SELECT "+attributesAndSources+" FROM users WHERE users.tenant_id = sessions.tenant_id AND users.sub = sessions.subject) AS user_attributes", 1)

// session returns the session of the row.
func (r *sessionRow) session() (*Session, error) {
	user, err := parseUserAttributes(r.User.String)
	s := &Session{
		ID: r.ID, TenantID: r.TenantID, ClientID: r.ClientID, IssuerID: r.IssuerID, Subject: r.Subject,
		CreatedAt: r.CreatedAt.Time, AuthTime: r.AuthTime.Time, LastActiveAt: r.LastActiveAt.Time,
		AbsoluteExpiry: r.AbsoluteExpiry.Time, IdleExpiry: r.IdleExpiry.Time,
		EndedAt: r.EndedAt.Time, EndReason: session.EndReason(r.EndReason.String).Final(),
		Refresh: Chain{
			Generation: r.Generation, Digest: r.RefreshDigest, Next: r.NextDigest,
			RootVersion: uint32(r.RootVersion.Int64), RotatedAt: r.RotatedAt.Time,
		},
		SessionToken: Chain{
			Generation: r.SessionTokenGeneration, Digest: r.SessionTokenDigest, Next: r.SessionTokenNextDigest,
			RootVersion: uint32(r.SessionTokenRootVersion.Int64), RotatedAt: r.SessionTokenRotatedAt.Time,
		},
		StoredACR: r.ACR, Scope: strings.Fields(r.Scope), Audience: strings.Fields(r.Audience), Status: statusEntry(r.StatusIndex),
		DeviceName: r.DeviceName, UserAgent: r.UserAgent, IP: r.IP,
		UserAttributes: user.Values, AttributeSources: user.Sources,
	}
	return s, errors.Join(err,
		json.Unmarshal([]byte(r.Factors), &s.Factors),
		s.scanDecision(r.ACRTimes.String),
		unmarshalObject(r.Attributes, &s.Attributes),
	)
}

// readSession reads the session of a query with sessionColumns. Requests that
// refresh, introspect or use a session token read one row in this way.
func readSession(query *gorm.DB) (*Session, error) {
	var row sessionRow
	if err := query.Row().Scan(destinations(&row)...); err != nil {
		return nil, err
	}
	return row.session()
}

// readSessions reads the sessions of a query with sessionColumns.
func readSessions(query *gorm.DB) ([]*Session, error) {
	var rows []sessionRow
	if err := query.Scan(&rows).Error; err != nil {
		return nil, err
	}
	list := make([]*Session, len(rows))
	for i := range rows {
		var err error
		if list[i], err = rows[i].session(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// historyRow is what a query with historyColumns reads in addition.
type historyRow struct {
	PreviousRootVersion sql.NullInt64  `gorm:"column:previous_root_version"`
	LateRetryGeneration sql.NullInt64  `gorm:"column:late_retry_generation"`
	LateRetriedAt       Time           `gorm:"column:late_retried_at"`
	LateRetryRepeats    sql.NullInt64  `gorm:"column:late_retry_repeats"`
	StepUpGeneration    sql.NullInt64  `gorm:"column:step_up_generation"`
	StepUpTokens        []byte         `gorm:"column:step_up_tokens"`
	StepUpBefore        sql.NullString `gorm:"column:step_up_before"`
	SupersededFrom      sql.NullInt64  `gorm:"column:superseded_from"`
	SupersededTo        sql.NullInt64  `gorm:"column:superseded_to"`
	SupersededEarlier   sql.NullString `gorm:"column:superseded_earlier"`
}

var historyColumns = strings.Join(columnsOf[historyRow](), ", ")

// history returns the history of the row.
func (r *historyRow) history() (*History, error) {
	superseded, err := joinGenerations(generationRange{uint32(r.SupersededFrom.Int64), uint32(r.SupersededTo.Int64)}, r.SupersededEarlier.String)
	if err != nil {
		return nil, err
	}
	h := &History{
		PreviousRoot: uint32(r.PreviousRootVersion.Int64),
		LateRetry:    session.LateRetry{Generation: uint32(r.LateRetryGeneration.Int64), At: r.LateRetriedAt.Time, Repeats: int(r.LateRetryRepeats.Int64)},
		StepUp:       StepUp{Generation: uint32(r.StepUpGeneration.Int64), Tokens: r.StepUpTokens, Superseded: superseded},
	}
	if r.StepUpBefore.String == "" {
		return h, nil
	}
	h.StepUp.Before = new(Assurance)
	return h, json.Unmarshal([]byte(r.StepUpBefore.String), h.StepUp.Before)
}

// readHistory reads the session of a query with sessionColumns and historyColumns.
func readHistory(query *gorm.DB) (*Session, error) {
	var row struct {
		Session sessionRow `gorm:"embedded"`
		History historyRow `gorm:"embedded"`
	}
	if err := scanOne(query, &row); err != nil {
		return nil, err
	}
	s, err := row.Session.session()
	if err != nil {
		return nil, err
	}
	s.History, err = row.History.history()
	return s, err
}
