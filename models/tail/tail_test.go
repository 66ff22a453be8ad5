package tail

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// fakeLog is a log in memory.
type fakeLog struct {
	now      time.Time
	epoch    string
	events   []*models.Revocation
	failure  error
	revoking bool
}

func (l *fakeLog) Now() time.Time                        { return l.now }
func (l *fakeLog) Epoch(context.Context) (string, error) { return l.epoch, l.failure }
func (l *fakeLog) MayBeRevoking(models.Issued) bool      { return l.revoking }

func (l *fakeLog) Revocations(context.Context, time.Time) ([]*models.Revocation, error) {
	return l.events, l.failure
}

func (l *fakeLog) RevocationsFrom(_ context.Context, _, from time.Time, known func(string, models.EventID) bool) (found []*models.Revocation, err error) {
	for _, r := range l.events {
		if !r.ID.At().Before(from) && !known(r.TenantID, r.ID) {
			found = append(found, r)
		}
	}
	return found, l.failure
}

// revoke adds the revocation of a token that was stamped at a time.
func (l *fakeLog) revoke(jti string, at time.Time) {
	l.events = append(l.events, &models.Revocation{TenantID: "default", TokenID: jti, At: at, Until: at.Add(time.Hour), ID: models.EventFrom(at)})
}

func follow(t *testing.T, l *fakeLog) *Tail {
	t.Helper()
	f := New(l, slog.New(slog.DiscardHandler))
	look(t, f)
	return f
}

func look(t *testing.T, f *Tail) {
	t.Helper()
	if err := f.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestTheTailFindsLateCommits(t *testing.T) {
	for _, row := range []struct {
		name string
		late time.Duration
		wait time.Duration // until the look that finds it
	}{
		{"within the overlap", models.LateCommit - time.Second, every},
		{"within the window of a full look", fullWindow - fullEvery, fullEvery},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := &fakeLog{now: time.Unix(1_790_000_000, 0), epoch: "one"}
			f := follow(t, l)
			l.revoke("one", l.now.Add(-row.late))
			l.now = l.now.Add(row.wait)
			look(t, f)
			if got := f.Verdict(models.Issued{TenantID: "default", TokenID: "one"}, time.Minute); got != Revoked {
				t.Errorf("verdict %d", got)
			}
		})
	}
}

func TestTheTailReadsEverythingAfterAFailure(t *testing.T) {
	l := &fakeLog{now: time.Unix(1_790_000_000, 0), epoch: "one"}
	f := follow(t, l)
	l.failure = errors.New("no connection")
	l.now = l.now.Add(every)
	if err := f.Look(t.Context()); !errors.Is(err, l.failure) {
		t.Errorf("a look returns %v", err)
	}
	l.failure = nil
	l.revoke("one", l.now.Add(-models.LateCommit-time.Minute)) // the same failure delayed it
	look(t, f)
	if got := f.Verdict(models.Issued{TenantID: "default", TokenID: "one"}, time.Minute); got != Revoked {
		t.Errorf("verdict %d", got)
	}
	l.now = l.now.Add(settings.RevocationBound)
	if _, err := f.Fresh(); !errors.Is(err, models.ErrUnavailable) {
		t.Errorf("a tail that has not looked for long is fresh: %v", err)
	}
}

func TestTheVerdictIsUnknownWhileThisNodeRevokes(t *testing.T) {
	l := &fakeLog{now: time.Unix(1_790_000_000, 0), epoch: "one"}
	f := follow(t, l)
	for revoking, want := range map[bool]Verdict{false: NotRevoked, true: Unknown} {
		l.revoking = revoking
		if got := f.Verdict(models.Issued{TenantID: "default", TokenID: "one"}, time.Minute); got != want {
			t.Errorf("revoking %t: verdict %d, want %d", revoking, got, want)
		}
	}
}
