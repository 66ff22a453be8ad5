package session_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/session"
)

// moments generates times around noon, close enough together to reach limits.
func moments() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		return in(time.Duration(rapid.Int64Range(-1200, 1200).Draw(t, "second")) * time.Second)
	})
}

// refreshFacts generates any facts about a row and a token.
func refreshFacts() *rapid.Generator[session.RefreshFacts] {
	return rapid.Custom(func(t *rapid.T) session.RefreshFacts {
		moment := func(name string) time.Time { return moments().Draw(t, name) }
		perhaps := func(name string) time.Time {
			return rapid.OneOf(rapid.Just(time.Time{}), moments()).Draw(t, name)
		}
		yes := func(name string) bool { return rapid.Bool().Draw(t, name) }
		generation := rapid.Uint32Range(0, 5)
		return session.RefreshFacts{
			Session:    session.Lifetime{AbsoluteExpiry: moment("absolute"), IdleExpiry: perhaps("idle"), EndedAt: perhaps("ended")},
			Generation: generation.Draw(t, "generation"), Presented: generation.Draw(t, "presented"),
			RotatedAt: perhaps("rotated"), ContactSince: moment("contact"),
			SameClient: yes("same client"), Permitted: yes("permitted"),
			IsCurrent: yes("current"), IsNext: yes("next"), SuccessorIsCurrent: yes("successor"),
			Grace:     time.Duration(rapid.IntRange(0, 60).Draw(t, "grace")) * time.Second,
			LateRetry: yes("late retry"), ByStepUp: yes("by step-up"), Superseded: yes("superseded"), OtherDevice: yes("other device"),
			LastLate: session.LateRetry{
				Generation: generation.Draw(t, "late generation"), At: moment("late"), Repeats: rapid.IntRange(0, 4).Draw(t, "repeats"),
			},
		}
	})
}

// issues reports whether the client gets tokens.
func issues(o session.RefreshOutcome) bool {
	return o == session.RefreshRetry || o == session.RefreshRetryLate || o == session.RefreshRotate || o == session.RefreshRecover
}

// ends reports whether the session ends.
func ends(o session.RefreshOutcome) bool {
	return o == session.RefreshReuse || o == session.RefreshBehind
}

func TestRefreshIssuesTokensOnlyForAReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := refreshFacts().Draw(t, "facts")
		now := moments().Draw(t, "now")
		outcome := session.DecideRefresh(now, f)
		_, _, over := f.Session.Ended(now)
		if (issues(outcome) || ends(outcome)) && (!f.SameClient || !f.Permitted || over) {
			t.Fatalf("%v for a session that is foreign, ended or not permitted", outcome)
		}
		proved := map[session.RefreshOutcome]bool{
			session.RefreshRotate:    f.IsCurrent && f.Presented == f.Generation,
			session.RefreshRetry:     f.SuccessorIsCurrent && f.Presented+1 == f.Generation && f.Grace > 0,
			session.RefreshRetryLate: f.SuccessorIsCurrent && f.Presented+1 == f.Generation && f.LateRetry && !f.OtherDevice && !f.ByStepUp,
			session.RefreshRecover:   f.IsNext && f.Presented == f.Generation+1,
		}
		if issues(outcome) && !proved[outcome] {
			t.Fatalf("%v although no digest allows it", outcome)
		}
		if outcome == session.RefreshRetry && now.Sub(f.RotatedAt) >= session.MaxRetryWindow {
			t.Fatalf("%v %v after the rotation", outcome, now.Sub(f.RotatedAt))
		}
	})
}

func TestTimeNeverReopensTheRetryWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := refreshFacts().Draw(t, "facts")
		now := moments().Draw(t, "now")
		later := now.Add(time.Duration(rapid.Int64Range(0, 1200).Draw(t, "wait")) * time.Second)
		before, after := session.DecideRefresh(now, f), session.DecideRefresh(later, f)
		if issues(after) && !issues(before) {
			t.Fatalf("%v at first and %v after %v", before, after, later.Sub(now))
		}
	})
}
