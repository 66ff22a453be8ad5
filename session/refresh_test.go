package session_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/session"
)

// noon is the now of the tables.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }
func in(d time.Duration) time.Time  { return noon.Add(d) }

// retried is a refresh token of generation 7 that is shown again five seconds
// after it was rotated, inside a window of ten.
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
	// outage is a contact that began after a rotation.
	outage := func(rotated, contact time.Duration) func(*facts) {
		return func(f *facts) { f.RotatedAt, f.ContactSince = ago(rotated), ago(contact) }
	}
	row := func(generation uint32, d time.Duration) func(*facts) {
		return func(f *facts) { f.Generation, f.RotatedAt, f.SuccessorIsCurrent = generation, ago(d), false }
	}
	// twoAhead is a delayed duplicate: the client has used the successor since.
	twoAhead := func(d time.Duration) func(*facts) { return row(9, d) }

	// late is a retry an hour after the rotation, where the last late retry was
	// of the given generation, so long ago, and has been repeated so often.
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
		"answers late once":                                {late(0, 0, 0), session.RefreshRetryLate},
		"answers late the moment the window closes":        {but(late(0, 0, 0), rotated(10*time.Second)), session.RefreshRetryLate},
		"answers late years later":                         {but(late(0, 0, 0), rotated(20000*time.Hour)), session.RefreshRetryLate},
		"does not call it late inside the window":          {but(late(0, 0, 0), rotated(9*time.Second)), session.RefreshRetry},
		"answers late without a window":                    {but(late(0, 0, 0), func(f *facts) { f.Grace = 0 }), session.RefreshRetryLate},
		"answers late at once without a window":            {but(late(0, 0, 0), func(f *facts) { f.Grace, f.RotatedAt = 0, noon }), session.RefreshRetryLate},
		"answers nothing late where the client forbids it": {but(late(0, 0, 0), func(f *facts) { f.LateRetry = false }), session.RefreshReuse},
		"answers another device nothing late":              {but(late(0, 0, 0), func(f *facts) { f.OtherDevice = true }), session.RefreshReuse},
		"answers another device inside the window":         {but(late(0, 0, 0), func(f *facts) { f.OtherDevice, f.RotatedAt = true, ago(time.Second) }), session.RefreshRetry},
		"answers nothing late two generations back":        {but(late(0, 0, 0), row(9, time.Hour)), session.RefreshReuse},
		"answers another successor nothing late":           {but(late(0, 0, 0), row(8, time.Hour)), session.RefreshMismatch},
		"answers an ended session nothing late":            {but(late(0, 0, 0), func(f *facts) { f.Session.EndedAt = ago(1) }), session.RefreshRefused},
		"answers another client nothing late":              {but(late(0, 0, 0), func(f *facts) { f.SameClient = false }), session.RefreshForeign},
		"answers what is not permitted nothing late":       {but(late(0, 0, 0), func(f *facts) { f.Permitted = false }), session.RefreshRefused},

		"gives the assurance from before a step-up":      {func(f *facts) { f.ByStepUp = true }, session.RefreshBeforeStepUp},
		"gives it to the last nanosecond of the window":  {func(f *facts) { f.ByStepUp, f.RotatedAt = true, ago(10*time.Second-1) }, session.RefreshBeforeStepUp},
		"answers nothing late across a step-up":          {but(late(0, 0, 0), func(f *facts) { f.ByStepUp = true }), session.RefreshReuse},
		"takes another secret before a step-up for none": {func(f *facts) { f.ByStepUp, f.SuccessorIsCurrent = true, false }, session.RefreshMismatch},
		"refuses what a step-up replaced unseen":         {func(f *facts) { f.Superseded, f.SuccessorIsCurrent = true, false }, session.RefreshSuperseded},
		"refuses it long after, many generations behind": {but(row(30, time.Hour), func(f *facts) { f.Superseded = true }), session.RefreshSuperseded},
		"lets an ended session come first":               {func(f *facts) { f.Superseded, f.Session.EndedAt = true, ago(1) }, session.RefreshRefused},

		"answers no second one in the next generation":   {at(12, late(11, time.Hour, 0)), session.RefreshReuse},
		"answers no second one eight generations later":  {at(19, late(11, 1000*time.Hour, 0)), session.RefreshReuse},
		"answers a second one nine generations later":    {at(20, late(11, time.Hour, 3)), session.RefreshRetryLate},
		"answers the first generation late":              {at(1, late(0, 0, 0)), session.RefreshRetryLate},
		"answers nothing if the row lost its generation": {at(10, late(11, time.Hour, 0)), session.RefreshReuse},
		"counts spacing across the largest generations":  {at(1<<32-1, late(1<<32-9, time.Hour, 0)), session.RefreshReuse},

		"repeats a late retry":                              {late(8, time.Second, 0), session.RefreshRetryLate},
		"repeats it freely to the last nanosecond":          {late(8, time.Minute-1, 3), session.RefreshRetryLate},
		"repeats it a first time after a minute":            {late(8, time.Minute, 0), session.RefreshRetryLate},
		"repeats it a third time after a minute":            {late(8, time.Hour, 2), session.RefreshRetryLate},
		"takes a fourth repetition for reuse":               {late(8, time.Minute, 3), session.RefreshReuse},
		"takes a repetition from another device for reuse":  {but(late(8, time.Second, 0), func(f *facts) { f.OtherDevice = true }), session.RefreshReuse},
		"counts the minute from the end of an outage":       {but(late(8, 10*time.Minute, 3), func(f *facts) { f.ContactSince = ago(time.Minute - 1) }), session.RefreshRetryLate},
		"counts it no further after an outage":              {but(late(8, 10*time.Minute, 3), func(f *facts) { f.ContactSince = ago(time.Minute) }), session.RefreshReuse},
		"lets no outage extend the minute past a quarter":   {but(late(8, 15*time.Minute, 3), func(f *facts) { f.ContactSince = noon }), session.RefreshReuse},
		"repeats nothing that the client forbids meanwhile": {but(late(8, time.Second, 0), func(f *facts) { f.LateRetry = false }), session.RefreshReuse},

		"retries the token before the current one":           {func(*facts) {}, session.RefreshRetry},
		"retries one nanosecond before the window closes":    {rotated(10*time.Second - 1), session.RefreshRetry},
		"takes it for reuse when the window closes":          {rotated(10 * time.Second), session.RefreshReuse},
		"takes it for reuse long after the window":           {rotated(time.Hour), session.RefreshReuse},
		"retries although the rotation lies in the future":   {rotated(-time.Hour), session.RefreshRetry},
		"mismatches another successor inside the window":     {func(f *facts) { f.SuccessorIsCurrent = false }, session.RefreshMismatch},
		"mismatches another successor long after it":         {row(8, time.Hour), session.RefreshMismatch},
		"has no window with a grace of zero":                 {func(f *facts) { f.Grace, f.RotatedAt = 0, noon }, session.RefreshReuse},
		"has no window with a grace of zero after an outage": {func(f *facts) { f.Grace, f.ContactSince = 0, noon }, session.RefreshReuse},

		"counts the window from the end of an outage":                {outage(10*time.Minute, 5*time.Second), session.RefreshRetry},
		"counts it to one nanosecond before its end":                 {outage(10*time.Minute, 10*time.Second-1), session.RefreshRetry},
		"counts it no further after an outage either":                {outage(10*time.Minute, 10*time.Second), session.RefreshReuse},
		"counts it from a contact in the future":                     {outage(10*time.Minute, -time.Second), session.RefreshRetry},
		"counts it from the rotation if that is later":               {outage(9*time.Second, time.Minute), session.RefreshRetry},
		"lets an outage extend it to one nanosecond before the cap":  {outage(15*time.Minute-1, 0), session.RefreshRetry},
		"lets no outage extend it to fifteen minutes after rotation": {outage(15*time.Minute, 0), session.RefreshReuse},

		"refuses a delayed duplicate":                                {twoAhead(5 * time.Second), session.RefreshDuplicate},
		"refuses a delayed duplicate to the last nanosecond":         {twoAhead(10*time.Second - 1), session.RefreshDuplicate},
		"refuses a duplicate although the rotation is in the future": {twoAhead(-time.Second), session.RefreshDuplicate},
		"takes two generations for reuse when the window closes":     {twoAhead(10 * time.Second), session.RefreshReuse},
		"takes two generations for reuse whatever the outage": {func(f *facts) {
			twoAhead(time.Minute)(f)
			f.ContactSince = noon
		}, session.RefreshReuse},
		"takes two generations for reuse with a grace of zero": {func(f *facts) {
			twoAhead(0)(f)
			f.Grace = 0
		}, session.RefreshReuse},
		"takes three generations for reuse inside the window":  {row(10, 0), session.RefreshReuse},
		"takes the first token of a long session for reuse":    {func(f *facts) { f.Presented, f.Generation = 0, 1<<32-1 }, session.RefreshReuse},
		"takes the last token of all for far ahead of its row": {func(f *facts) { f.Presented, f.Generation = 1<<32-1, 0 }, session.RefreshBehind},

		"rotates the current token":                  {func(f *facts) { f.Generation, f.IsCurrent = 7, true }, session.RefreshRotate},
		"rotates the first token":                    {func(f *facts) { f.Generation, f.Presented, f.IsCurrent, f.RotatedAt = 0, 0, true, time.Time{} }, session.RefreshRotate},
		"mismatches another secret of its age":       {row(7, time.Second), session.RefreshMismatch},
		"recovers a rotation that was lost":          {func(f *facts) { f.Generation, f.IsNext = 6, true }, session.RefreshRecover},
		"mismatches a token that was never next":     {row(6, time.Second), session.RefreshMismatch},
		"ends a session restored from a backup":      {row(5, time.Second), session.RefreshBehind},
		"ends it though the digest seems to be next": {func(f *facts) { f.Generation, f.IsNext = 5, true }, session.RefreshBehind},

		"refuses a retry of an ended session":            {func(f *facts) { f.Session.EndedAt, f.Session.EndReason = ago(1), session.SignedOut }, session.RefreshRefused},
		"refuses a current token when the session idled": {func(f *facts) { f.Generation, f.IsCurrent, f.Session.IdleExpiry = 7, true, noon }, session.RefreshRefused},
		"refuses a current token at the absolute end":    {func(f *facts) { f.Generation, f.IsCurrent, f.Session.AbsoluteExpiry = 7, true, noon }, session.RefreshRefused},
		"refuses a recovery when the session is over":    {func(f *facts) { f.Generation, f.IsNext, f.Session.AbsoluteExpiry = 6, true, ago(1) }, session.RefreshRefused},
		"sees no reuse in a session that has ended":      {func(f *facts) { f.RotatedAt, f.Session.EndedAt = ago(time.Hour), ago(1) }, session.RefreshRefused},
		"refuses a retry that is not permitted":          {func(f *facts) { f.Permitted = false }, session.RefreshRefused},
		"sees no reuse where nothing is permitted":       {func(f *facts) { f.RotatedAt, f.Permitted = ago(time.Hour), false }, session.RefreshRefused},

		"refuses another client's retry":          {func(f *facts) { f.SameClient = false }, session.RefreshForeign},
		"lets another client's reuse end nothing": {func(f *facts) { f.SameClient, f.RotatedAt = false, ago(time.Hour) }, session.RefreshForeign},
		"lets another client learn of no end":     {func(f *facts) { f.SameClient, f.Permitted, f.Session.EndedAt = false, false, ago(1) }, session.RefreshForeign},
		"lets another client's old row be":        {func(f *facts) { f.SameClient, f.Generation = false, 1 }, session.RefreshForeign},
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

func TestWhatARowRemembersOfALateRetry(t *testing.T) {
	first := session.LateRetry{Generation: 8, At: noon}
	for name, c := range map[string]struct {
		last       session.LateRetry
		now        time.Time
		generation uint32
		contact    time.Time
		want       session.LateRetry
	}{
		"the first":                              {session.LateRetry{}, noon, 8, time.Time{}, first},
		"a repetition within a minute":           {first, in(time.Minute - 1), 8, time.Time{}, first},
		"a repetition after it":                  {first, in(time.Minute), 8, time.Time{}, session.LateRetry{Generation: 8, At: noon, Repeats: 1}},
		"a repetition soon after an outage":      {first, in(10 * time.Minute), 8, in(9*time.Minute + 1), first},
		"another generation's":                   {session.LateRetry{Generation: 8, At: noon, Repeats: 3}, in(time.Hour), 17, time.Time{}, session.LateRetry{Generation: 17, At: in(time.Hour)}},
		"a repetition by a clock that is behind": {first, ago(time.Hour), 8, time.Time{}, first},
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
