package session_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/session"
)

// noon is the current time in the tables.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }
func in(d time.Duration) time.Time  { return noon.Add(d) }

// retried returns the facts of a refresh token of generation 7 that is presented
// again five seconds after it was rotated, within a window of ten.
func retried() session.RefreshFacts {
	return session.RefreshFacts{
		Session:            session.Lifetime{CreatedAt: ago(time.Hour), AbsoluteExpiry: in(time.Hour), IdleExpiry: in(time.Minute)},
		Generation:         8,
		RotatedAt:          ago(5 * time.Second),
		Presented:          7,
		SameClient:         true,
		Permitted:          true,
		SuccessorIsCurrent: true,
		Grace:              10 * time.Second,
		ContactSince:       ago(30 * time.Minute),
	}
}

func TestDecideRefresh(t *testing.T) {
	type facts = session.RefreshFacts
	rotated := func(d time.Duration) func(*facts) { return func(f *facts) { f.RotatedAt = ago(d) } }
	// outage makes contact with the database begin after a rotation.
	outage := func(rotated, contact time.Duration) func(*facts) {
		return func(f *facts) { f.RotatedAt, f.ContactSince = ago(rotated), ago(contact) }
	}
	row := func(generation uint32, d time.Duration) func(*facts) {
		return func(f *facts) { f.Generation, f.RotatedAt, f.SuccessorIsCurrent = generation, ago(d), false }
	}
	// twoAhead makes a delayed duplicate: the client has since used the successor.
	twoAhead := func(d time.Duration) func(*facts) { return row(9, d) }

	// late makes a retry an hour after the rotation. The last late retry was of
	// the given generation, that long ago, and has been repeated that often.
	late := func(generation uint32, at time.Duration, repeats int) func(*facts) {
		return func(f *facts) {
			f.LateRetry, f.RotatedAt = true, ago(time.Hour)
			if generation > 0 {
				f.LastLate = session.LateRetry{Generation: generation, At: ago(at), Repeats: repeats}
			}
		}
	}
	at := func(generation uint32, change func(*facts)) func(*facts) {
		return func(f *facts) {
			change(f)
			f.Generation, f.Presented = generation, generation-1
		}
	}
	but := func(change, also func(*facts)) func(*facts) {
		return func(f *facts) { change(f); also(f) }
	}

	for name, c := range map[string]struct {
		change func(*facts)
		want   session.RefreshOutcome
	}{
		"answers one late retry":                        {late(0, 0, 0), session.RefreshRetryLate},
		"answers late exactly when the window closes":   {but(late(0, 0, 0), rotated(10*time.Second)), session.RefreshRetryLate},
		"answers late years later":                      {but(late(0, 0, 0), rotated(20000*time.Hour)), session.RefreshRetryLate},
		"is not late within the window":                 {but(late(0, 0, 0), rotated(9*time.Second)), session.RefreshRetry},
		"answers late without a window":                 {but(late(0, 0, 0), func(f *facts) { f.Grace = 0 }), session.RefreshRetryLate},
		"answers late immediately without a window":     {but(late(0, 0, 0), func(f *facts) { f.Grace, f.RotatedAt = 0, noon }), session.RefreshRetryLate},
		"does not answer late if the client forbids it": {but(late(0, 0, 0), func(f *facts) { f.LateRetry = false }), session.RefreshReuse},
		"does not answer another device late":           {but(late(0, 0, 0), func(f *facts) { f.OtherDevice = true }), session.RefreshReuse},
		"answers another device within the window":      {but(late(0, 0, 0), func(f *facts) { f.OtherDevice, f.RotatedAt = true, ago(time.Second) }), session.RefreshRetry},
		"does not answer late two generations back":     {but(late(0, 0, 0), row(9, time.Hour)), session.RefreshReuse},
		"does not answer late with another successor":   {but(late(0, 0, 0), row(8, time.Hour)), session.RefreshMismatch},
		"does not answer late for an ended session":     {but(late(0, 0, 0), func(f *facts) { f.Session.EndedAt = ago(1) }), session.RefreshRefused},
		"does not answer another client late":           {but(late(0, 0, 0), func(f *facts) { f.SameClient = false }), session.RefreshForeign},
		"does not answer late if it is not permitted":   {but(late(0, 0, 0), func(f *facts) { f.Permitted = false }), session.RefreshRefused},

		"returns the assurance from before a step-up":                   {func(f *facts) { f.ByStepUp = true }, session.RefreshBeforeStepUp},
		"returns it until the last nanosecond of the window":            {func(f *facts) { f.ByStepUp, f.RotatedAt = true, ago(10*time.Second-1) }, session.RefreshBeforeStepUp},
		"does not answer late after a step-up":                          {but(late(0, 0, 0), func(f *facts) { f.ByStepUp = true }), session.RefreshReuse},
		"reports a mismatch for another secret before a step-up":        {func(f *facts) { f.ByStepUp, f.SuccessorIsCurrent = true, false }, session.RefreshMismatch},
		"rejects a token that a step-up replaced without presenting it": {func(f *facts) { f.Superseded, f.SuccessorIsCurrent = true, false }, session.RefreshSuperseded},
		"rejects it long after, many generations behind":                {but(row(30, time.Hour), func(f *facts) { f.Superseded = true }), session.RefreshSuperseded},
		"reports an ended session first":                                {func(f *facts) { f.Superseded, f.Session.EndedAt = true, ago(1) }, session.RefreshRefused},

		"does not answer a second late retry in the next generation":  {at(12, late(11, time.Hour, 0)), session.RefreshReuse},
		"does not answer a second late retry eight generations later": {at(19, late(11, 1000*time.Hour, 0)), session.RefreshReuse},
		"answers a second late retry nine generations later":          {at(20, late(11, time.Hour, 3)), session.RefreshRetryLate},
		"answers the first generation late":                           {at(1, late(0, 0, 0)), session.RefreshRetryLate},
		"does not answer late if the row lost its generation":         {at(10, late(11, time.Hour, 0)), session.RefreshReuse},
		"counts spacing across the largest generations":               {at(1<<32-1, late(1<<32-9, time.Hour, 0)), session.RefreshReuse},

		"repeats a late retry": {late(8, time.Second, 0), session.RefreshRetryLate},
		"repeats it without limit until the last nanosecond of the minute":  {late(8, time.Minute-1, 3), session.RefreshRetryLate},
		"repeats it a first time after a minute":                            {late(8, time.Minute, 0), session.RefreshRetryLate},
		"repeats it a third time after a minute":                            {late(8, time.Hour, 2), session.RefreshRetryLate},
		"treats a fourth repetition as reuse":                               {late(8, time.Minute, 3), session.RefreshReuse},
		"treats a repetition from another device as reuse":                  {but(late(8, time.Second, 0), func(f *facts) { f.OtherDevice = true }), session.RefreshReuse},
		"counts the minute from the end of an outage":                       {but(late(8, 10*time.Minute, 3), func(f *facts) { f.ContactSince = ago(time.Minute - 1) }), session.RefreshRetryLate},
		"counts the minute no further after an outage":                      {but(late(8, 10*time.Minute, 3), func(f *facts) { f.ContactSince = ago(time.Minute) }), session.RefreshReuse},
		"does not extend the minute past fifteen minutes":                   {but(late(8, 15*time.Minute, 3), func(f *facts) { f.ContactSince = noon }), session.RefreshReuse},
		"does not repeat it if the client has since forbidden late retries": {but(late(8, time.Second, 0), func(f *facts) { f.LateRetry = false }), session.RefreshReuse},

		"retries the token before the current one":                       {func(*facts) {}, session.RefreshRetry},
		"retries one nanosecond before the window closes":                {rotated(10*time.Second - 1), session.RefreshRetry},
		"treats it as reuse when the window closes":                      {rotated(10 * time.Second), session.RefreshReuse},
		"treats it as reuse long after the window":                       {rotated(time.Hour), session.RefreshReuse},
		"retries even if the rotation is in the future":                  {rotated(-time.Hour), session.RefreshRetry},
		"reports a mismatch for another successor within the window":     {func(f *facts) { f.SuccessorIsCurrent = false }, session.RefreshMismatch},
		"reports a mismatch for another successor long after the window": {row(8, time.Hour), session.RefreshMismatch},
		"has no window with a grace of zero":                             {func(f *facts) { f.Grace, f.RotatedAt = 0, noon }, session.RefreshReuse},
		"has no window with a grace of zero after an outage":             {func(f *facts) { f.Grace, f.ContactSince = 0, noon }, session.RefreshReuse},

		"counts the window from the end of an outage":                      {outage(10*time.Minute, 5*time.Second), session.RefreshRetry},
		"counts the window until one nanosecond before its end":            {outage(10*time.Minute, 10*time.Second-1), session.RefreshRetry},
		"counts the window no further after an outage":                     {outage(10*time.Minute, 10*time.Second), session.RefreshReuse},
		"counts the window from a contact in the future":                   {outage(10*time.Minute, -time.Second), session.RefreshRetry},
		"counts the window from the rotation if that is later":             {outage(9*time.Second, time.Minute), session.RefreshRetry},
		"extends the window to one nanosecond before the maximum":          {outage(15*time.Minute-1, 0), session.RefreshRetry},
		"does not extend the window to fifteen minutes after the rotation": {outage(15*time.Minute, 0), session.RefreshReuse},

		"rejects a delayed duplicate":                               {twoAhead(5 * time.Second), session.RefreshDuplicate},
		"rejects a delayed duplicate until the last nanosecond":     {twoAhead(10*time.Second - 1), session.RefreshDuplicate},
		"rejects a duplicate even if the rotation is in the future": {twoAhead(-time.Second), session.RefreshDuplicate},
		"treats two generations as reuse when the window closes":    {twoAhead(10 * time.Second), session.RefreshReuse},
		"treats two generations as reuse whatever the outage": {func(f *facts) {
			twoAhead(time.Minute)(f)
			f.ContactSince = noon
		}, session.RefreshReuse},
		"treats two generations as reuse with a grace of zero": {func(f *facts) {
			twoAhead(0)(f)
			f.Grace = 0
		}, session.RefreshReuse},
		"treats three generations as reuse within the window":    {row(10, 0), session.RefreshReuse},
		"treats the first token of a long session as reuse":      {func(f *facts) { f.Presented, f.Generation = 0, 1<<32-1 }, session.RefreshReuse},
		"treats the last possible token as far ahead of its row": {func(f *facts) { f.Presented, f.Generation = 1<<32-1, 0 }, session.RefreshBehind},

		"rotates the current token":                                       {func(f *facts) { f.Generation, f.IsCurrent = 7, true }, session.RefreshRotate},
		"rotates the first token":                                         {func(f *facts) { f.Generation, f.Presented, f.IsCurrent, f.RotatedAt = 0, 0, true, time.Time{} }, session.RefreshRotate},
		"reports a mismatch for another secret of its generation":         {row(7, time.Second), session.RefreshMismatch},
		"recovers a rotation that was lost":                               {func(f *facts) { f.Generation, f.IsNext = 6, true }, session.RefreshRecover},
		"reports a mismatch for a token that was never next":              {row(6, time.Second), session.RefreshMismatch},
		"ends a session restored from a backup":                           {row(5, time.Second), session.RefreshBehind},
		"ends a restored session even if the digest matches the next one": {func(f *facts) { f.Generation, f.IsNext = 5, true }, session.RefreshBehind},

		"rejects a retry for an ended session":         {func(f *facts) { f.Session.EndedAt, f.Session.EndReason = ago(1), session.SignedOut }, session.RefreshRefused},
		"rejects a current token of an idle session":   {func(f *facts) { f.Generation, f.IsCurrent, f.Session.IdleExpiry = 7, true, noon }, session.RefreshRefused},
		"rejects a current token at the absolute end":  {func(f *facts) { f.Generation, f.IsCurrent, f.Session.AbsoluteExpiry = 7, true, noon }, session.RefreshRefused},
		"rejects a recovery of an ended session":       {func(f *facts) { f.Generation, f.IsNext, f.Session.AbsoluteExpiry = 6, true, ago(1) }, session.RefreshRefused},
		"does not report reuse for an ended session":   {func(f *facts) { f.RotatedAt, f.Session.EndedAt = ago(time.Hour), ago(1) }, session.RefreshRefused},
		"rejects a retry that is not permitted":        {func(f *facts) { f.Permitted = false }, session.RefreshRefused},
		"does not report reuse if it is not permitted": {func(f *facts) { f.RotatedAt, f.Permitted = ago(time.Hour), false }, session.RefreshRefused},

		"rejects another client's retry":                           {func(f *facts) { f.SameClient = false }, session.RefreshForeign},
		"does not end the session for another client's reuse":      {func(f *facts) { f.SameClient, f.RotatedAt = false, ago(time.Hour) }, session.RefreshForeign},
		"does not report the end of the session to another client": {func(f *facts) { f.SameClient, f.Permitted, f.Session.EndedAt = false, false, ago(1) }, session.RefreshForeign},
		"does not end an old row for another client":               {func(f *facts) { f.SameClient, f.Generation = false, 1 }, session.RefreshForeign},
	} {
		t.Run(name, func(t *testing.T) {
			f := retried()
			c.change(&f)
			if got := session.DecideRefresh(noon, f); got != c.want {
				t.Errorf("decided %v, want %v", got, c.want)
			}
		})
	}
}

func TestLateRetryNext(t *testing.T) {
	first := session.LateRetry{Generation: 8, At: noon}
	for name, c := range map[string]struct {
		last       session.LateRetry
		now        time.Time
		generation uint32
		contact    time.Time
		want       session.LateRetry
	}{
		"the first late retry":                     {session.LateRetry{}, noon, 8, time.Time{}, first},
		"a repetition within a minute":             {first, in(time.Minute - 1), 8, time.Time{}, first},
		"a repetition after a minute":              {first, in(time.Minute), 8, time.Time{}, session.LateRetry{Generation: 8, At: noon, Repeats: 1}},
		"a repetition soon after an outage":        {first, in(10 * time.Minute), 8, in(9*time.Minute + 1), first},
		"a late retry of another generation":       {session.LateRetry{Generation: 8, At: noon, Repeats: 3}, in(time.Hour), 17, time.Time{}, session.LateRetry{Generation: 17, At: in(time.Hour)}},
		"a repetition by a clock that lags behind": {first, ago(time.Hour), 8, time.Time{}, first},
	} {
		if got := c.last.Next(c.now, c.generation, c.contact); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestRefreshOutcomesHaveNames(t *testing.T) {
	for outcome, want := range map[session.RefreshOutcome]string{
		session.RefreshRefused: "refused", session.RefreshForeign: "foreign", session.RefreshRotate: "rotate",
		session.RefreshRetry: "retry", session.RefreshRetryLate: "late retry",
		session.RefreshBeforeStepUp: "before step-up", session.RefreshSuperseded: "superseded", session.RefreshDuplicate: "duplicate", session.RefreshReuse: "reuse",
		session.RefreshRecover: "recover", session.RefreshBehind: "behind", session.RefreshMismatch: "mismatch",
	} {
		if got := outcome.String(); got != want {
			t.Errorf("outcome %d is %q, want %q", outcome, got, want)
		}
	}
}
