package models

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"
)

// Errors that callers check for. Every other error of a Store is internal.
var (
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("already exists")
	ErrUnavailable = errors.New("the database is unavailable") // transient: retry
)

// errSerialization is the error of a transaction that lost a conflict with
// another transaction and may be run again.
var errSerialization = errors.New("serialization failure")

// translate converts the errors of both engines to the errors above. The text
// of the driver is kept for the log; it contains no values of a row except
// those of a violated key, and no part of the database URL.
func (s *Store) translate(err error) error {
	var pg *pgconn.PgError
	var lite interface{ Code() int }
	var network net.Error
	var connecting *pgconn.ConnectError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrReadOnly):
		return ErrReadOnly
	case errors.Is(err, ErrUnavailable):
		if errors.As(err, &connecting) {
			return s.parts.readable(err)
		}
		return err
	case orNotFound(err) == ErrNotFound:
		return ErrNotFound
	case errors.As(err, &pg) && pg.Code == readOnlyTransaction:
		return ErrReadOnly
	case errors.As(err, &pg):
		return fmt.Errorf("%w: %s", classifyPostgres(pg.Code), s.parts.describe(err))
	case errors.As(err, &lite):
		return fmt.Errorf("%w: %v", classifySQLite(lite.Code()), err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, sql.ErrTxDone), // the caller's deadline passed before the commit
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.As(err, &network),
		strings.Contains(err.Error(), "conn closed"):
		return fmt.Errorf("%w: %s", ErrUnavailable, s.parts.describe(err))
	case errors.As(err, &connecting): // such as in the TLS handshake
		return s.parts.readable(err)
	default:
		return err
	}
}

// orNotFound returns ErrNotFound if a query found no row, and err otherwise.
func orNotFound(err error) error {
	if errors.Is(err, gorm.ErrRecordNotFound) || errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// errInternal marks a database error that a retry does not fix.
var errInternal = errors.New("database error")

// errForbidden is the error of a statement that the role of the database URL
// may not run.
var errForbidden = fmt.Errorf("%w: not permitted", errInternal)

// isInternal reports whether a retry does not fix a database error.
func isInternal(err error) bool { return errors.Is(err, errInternal) }

// classifyPostgres follows the error classes of PostgreSQL's Appendix A.
func classifyPostgres(code string) error {
	switch {
	case code == "23505":
		return ErrConflict
	case code == "40001", code == "40P01":
		return errSerialization
	case code == "26000", code == "42P05", // a pooler that does not keep prepared statements; onError has noticed it
		strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57"), strings.HasPrefix(code, "58"),
		code == "3D000", // the database is being restored
		code == "55P03": // lock not available
		return ErrUnavailable
	case code == "42501":
		return errForbidden
	default:
		return errInternal
	}
}

// readOnlyTransaction is the error code of a server that does not accept
// writes.
const readOnlyTransaction = "25006"

// isUnsent reports whether a statement, or the beginning of a transaction, has
// provably changed nothing: it was not sent, or the server rejected it for a
// reason that does not apply to another connection.
func isUnsent(err error) bool {
	var pg *pgconn.PgError
	var connecting *pgconn.ConnectError
	switch {
	case errors.As(err, &connecting): // another connection would fail in the same way
		return false
	case errors.As(err, &pg):
		return pg.Code == readOnlyTransaction || isLostStatement(pg)
	default:
		return errors.Is(err, ErrReadOnly) || errors.Is(err, driver.ErrBadConn) || pgconn.SafeToRetry(err)
	}
}

// isLost reports whether the connection broke, so that what was not committed
// on it never will be.
func isLost(err error) bool {
	var pg *pgconn.PgError
	var connecting *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &connecting), errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return false
	case isUnsent(err):
		return true
	case errors.As(err, &pg):
		return strings.HasPrefix(pg.Code, "57P0") // the server closed it
	default:
		return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || network != nil ||
			strings.Contains(err.Error(), "conn closed")
	}
}

// classifySQLite uses the primary result code, which is the low byte.
func classifySQLite(code int) error {
	const (
		busy, locked, readOnly, interrupted, ioErr, full, cantOpen = 5, 6, 8, 9, 10, 13, 14
		constraintPrimaryKey, constraintUnique                     = 1555, 2067
	)
	switch code {
	case constraintPrimaryKey, constraintUnique:
		return ErrConflict
	}
	switch code & 0xff {
	case busy, locked, readOnly, interrupted, ioErr, full, cantOpen: // interrupted: the caller's deadline passed
		return ErrUnavailable
	default:
		return errInternal
	}
}
