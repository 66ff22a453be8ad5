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

// What callers branch on. Every other error of a store is a fault of ours.
var (
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("already exists")
	ErrUnavailable = errors.New("the database is unavailable") // transient: ask again
)

// errSerialization is a transaction that lost to another one and may be run again.
var errSerialization = errors.New("serialization failure")

// translate turns the errors of both dialects into the sentinels above. What the
// driver says stays in the text for the log; it holds no values of a row but
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
		errors.Is(err, sql.ErrTxDone), // the caller's time was up before the commit
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.As(err, &network),
		strings.Contains(err.Error(), "conn closed"):
		return fmt.Errorf("%w: %s", ErrUnavailable, s.parts.describe(err))
	case errors.As(err, &connecting): // such as by TLS
		return s.parts.readable(err)
	default:
		return err
	}
}

// orNotFound is ErrNotFound for a query that found no row, and err otherwise.
func orNotFound(err error) error {
	if errors.Is(err, gorm.ErrRecordNotFound) || errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// errInternal marks an error of the database that no retry mends.
var errInternal = errors.New("database error")

// errForbidden is what the role of the database URL may not do.
var errForbidden = fmt.Errorf("%w: not permitted", errInternal)

// isInternal reports whether no retry mends an error of the database.
func isInternal(err error) bool { return errors.Is(err, errInternal) }

// classifyPostgres follows the classes of PostgreSQL's Appendix A.
func classifyPostgres(code string) error {
	switch {
	case code == "23505":
		return ErrConflict
	case code == "40001", code == "40P01":
		return errSerialization
	case code == "26000", code == "42P05", // a pooler that does not keep prepared statements, noticed by now
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

// readOnlyTransaction is the code of a server that takes no writes.
const readOnlyTransaction = "25006"

// isUnsent reports whether a statement, or the beginning of a transaction, has
// provably changed nothing: it was not sent, or the server refused it for a
// reason that another connection does not have.
func isUnsent(err error) bool {
	var pg *pgconn.PgError
	var connecting *pgconn.ConnectError
	switch {
	case errors.As(err, &connecting): // another one would fail like it
		return false
	case errors.As(err, &pg):
		return pg.Code == readOnlyTransaction || lostName(pg)
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
		return strings.HasPrefix(pg.Code, "57P0") // the server ended it
	default:
		return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || network != nil ||
			strings.Contains(err.Error(), "conn closed")
	}
}

// classifySQLite looks at the primary result code, its low byte.
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
	case busy, locked, readOnly, interrupted, ioErr, full, cantOpen: // interrupted: the caller's time was up
		return ErrUnavailable
	default:
		return errInternal
	}
}
