package models_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
)

func TestACanceledCallerGetsItsOwnError(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		before := w.rows()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		w.Store = w.another(models.Options{}) // one that has prepared nothing yet
		for name, operation := range w.operations(row) {
			if name == "MeasureClock" && w.Dialect() == "sqlite" {
				continue // it needs no connection
			}
			if err := operation(gone); !errors.Is(err, context.Canceled) {
				t.Errorf("%s answers %v", name, err)
			}
		}
		w.wantRows(before)
	})
}

// stuck blocks the next use of a client token forever.
func (w *fixture) stuck() {
	w.Helper()
	if w.Dialect() == "postgres" {
		w.exec(`CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3600); RETURN NEW; END $$`)
		w.exec(`CREATE TRIGGER wait BEFORE INSERT ON spent_tokens FOR EACH ROW EXECUTE FUNCTION wait()`)
		return
	}
	w.exec(`CREATE TRIGGER wait BEFORE INSERT ON spent_tokens BEGIN
		SELECT max(i) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n); END`)
}

func TestAStatementThatOutlastsItsDeadlineIsUnavailable(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		before := w.rows()
		w.stuck()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := w.CreateSession(ctx, w.alice(), signs); !errors.Is(err, models.ErrUnavailable) {
			t.Errorf("returned %v", err)
		}
		w.wantRows(before)
		must(t, w.Ping(t.Context()))
	})
}

func TestACallerThatCancelsAStatementIsNoOutage(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		before, since := w.rows(), w.ContactSince()
		w.stuck()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := w.CreateSession(ctx, w.alice(), signs); err == nil {
			t.Error("it succeeded")
		}
		w.clock.Advance(time.Minute)
		w.wantRows(before)
		must(t, w.Ping(t.Context()))
		if got := w.ContactSince(); !got.Equal(since) {
			t.Errorf("contact restarted at %v", got)
		}
	})
}

func TestACommitAfterTheDeadlineIsUnavailable(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		before := w.rows()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := w.CreateSession(ctx, w.alice(), func(*models.Session) error {
			<-ctx.Done()
			time.Sleep(20 * time.Millisecond) // until the transaction has been taken back
			return nil
		})
		if !errors.Is(err, models.ErrUnavailable) {
			t.Errorf("returned %v", err)
		}
		w.wantRows(before)
	})
}

// fails makes the first inserts of users fail with a SQLSTATE. A sequence
// counts them, since it is not taken back with the transaction.
func (w *fixture) fails(times int, code string) {
	w.Helper()
	w.exec(`CREATE SEQUENCE tries`)
	w.exec(fmt.Sprintf(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN IF nextval('tries') <= %d THEN RAISE 'no' USING ERRCODE = '%s'; END IF; RETURN NEW; END $$`, times, code))
	w.exec(`CREATE TRIGGER fail BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION fail()`)
}

func TestATransactionThatLostAConflictIsRunAgain(t *testing.T) {
	for _, code := range []string{"40001", "40P01"} {
		t.Run(code, func(t *testing.T) {
			w := newPostgresFixture(t)
			w.fails(3, code)
			signatures := 0
			_, err := w.CreateSession(t.Context(), w.alice(), func(*models.Session) error { signatures++; return nil })
			must(t, err)
			if tries := w.number("SELECT last_value FROM tries"); tries != 4 || signatures != 1 {
				t.Errorf("after %d tries %d signatures were made", tries, signatures)
			}
			if rows := w.rows(); rows["sessions"] != 1 || rows["events"] != 1 {
				t.Errorf("the tables hold %v", rows)
			}
		})
	}
}

func TestPostgreSQLsErrorsAreClassified(t *testing.T) {
	for code, want := range map[string]error{
		"40001": models.ErrUnavailable, // every time
		"53100": models.ErrUnavailable, // disk full
		"57014": models.ErrUnavailable, // statement timeout
		"25006": models.ErrUnavailable, // a standby
		"58030": models.ErrUnavailable, // I/O error
		"55P03": models.ErrUnavailable, // lock timeout
		"23505": models.ErrConflict,
		"42501": nil, // no permission: not transient
		"22021": nil, // a NUL
	} {
		t.Run(code, func(t *testing.T) {
			w := newPostgresFixture(t)
			w.fails(1000, code)
			before := w.rows()
			_, err := w.CreateSession(t.Context(), w.alice(), signs)
			for _, sentinel := range []error{models.ErrUnavailable, models.ErrConflict, models.ErrNotFound} {
				if is := errors.Is(err, sentinel); err == nil || is != (sentinel == want) {
					t.Errorf("returned %v, want %v", err, want)
				}
			}
			w.wantRows(before)
		})
	}
}
