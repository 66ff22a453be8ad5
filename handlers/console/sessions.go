package console

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
)

// sessionsPage is the list of sessions.
type sessionsPage struct {
	Search map[string]string // the values of the fields
	Chips  []chip
	More   bool // a filter of the second row is set
	Rows   []sessionRow
	EndAll string // the page that ends every session found; empty: not possible
	Issuer string // of the tenant
	pager
}

type sessionRow struct {
	admin.Session
	Href       string
	Device     device
	Reason     string
	LastActive moment
	Created    moment
}

// chip is a filter that is set, with the page without it.
type chip struct{ Name, Value, Without string }

// sessionFilters lists the fields of the search in their order.
var sessionFilters = []string{"user", "client", "issuer", "state", "ip", "created_after", "created_before", "active_after", "active_before"}

const pageSize = 50

// sessions serves the search of sessions. Without a filter it lists the newest.
func (v *visit) sessions() error {
	p := sessionsPage{Search: map[string]string{}, Issuer: v.tenant.Status.Issuer}
	for _, name := range sessionFilters {
		p.Search[name] = v.query(name)
	}
	p.Chips = v.chips(sessionFilters)
	p.More = slices.ContainsFunc(sessionFilters[2:], func(name string) bool { return p.Search[name] != "" && name != "state" })
	q, err := v.sessionSearch()
	var list *admin.List[admin.Session]
	if err == nil {
		q.Cursor, q.Limit = v.query("cursor"), pageSize
		list, err = v.Admin.Sessions(v.ctx(), v.Caller, v.Tenant, q)
	}
	if err != nil {
		return v.renderProblem("sessions", "Sessions", p, err)
	}
	for _, s := range list.Items {
		p.Rows = append(p.Rows, v.sessionRow(s))
	}
	p.pager = v.pager(list.NextCursor)
	if user, client := p.Search["user"], p.Search["client"]; (user != "" || client != "") && v.May("end-sessions") && len(p.Rows) > 0 {
		p.EndAll = query(v.at("sessions", "end"), "user", user, "client", client)
	}
	return v.render("sessions", "Sessions", p)
}

func (v *visit) sessionRow(s admin.Session) sessionRow {
	return sessionRow{
		Session: s, Href: v.at("sessions", s.ID), Device: describeDevice(s.Device, v.place), Reason: endReason(s.EndReason),
		LastActive: v.lastActive(s), Created: when(s.CreatedAt, v.now),
	}
}

// lastActive returns when a session was used last, which is known to the minute.
func (v *visit) lastActive(s admin.Session) moment {
	m := when(s.LastActiveAt, v.now)
	if v.now.Sub(s.LastActiveAt) < 2*time.Minute {
		m.Relative = "just now"
	}
	return m
}

func (v *visit) sessionSearch() (admin.SessionSearch, error) {
	q := admin.SessionSearch{User: v.query("user"), Client: v.query("client"), Issuer: v.query("issuer"), State: v.query("state"), IP: v.query("ip")}
	if q.State != "active" && q.State != "ended" {
		q.State = ""
	}
	for name, at := range map[string]*time.Time{
		"created_after": &q.CreatedAfter, "created_before": &q.CreatedBefore, "active_after": &q.ActiveAfter, "active_before": &q.ActiveBefore,
	} {
		var err error
		if *at, err = v.timeOf(name); err != nil {
			return q, err
		}
	}
	return q, nil
}

// timeOf returns the time of a parameter of the URL.
func (v *visit) timeOf(name string) (time.Time, error) { return parseTime(name, v.query(name)) }

// chips returns the filters that are set.
func (v *visit) chips(names []string) (list []chip) {
	for _, name := range names {
		if value := v.query(name); value != "" {
			q := v.g.Request.URL.Query()
			q.Del(name)
			q.Del("cursor")
			without := v.Path
			if len(q) > 0 {
				without += "?" + q.Encode()
			}
			list = append(list, chip{fieldName(name), value, without})
		}
	}
	return list
}

// sessionPage is one session.
type sessionPage struct {
	sessionRow
	Ends, Idle moment
	AuthTime   moment
	Classes    []classAge
	Factors    []factorAge
	Timeline   []timelineEntry
	EndHref    string
	UserHref   string
	Others     string // the user's sessions
}

type classAge struct {
	ACR string
	Age moment
}

type factorAge struct {
	admin.Factor
	Age moment
}

type timelineEntry struct {
	Title, Class string
	When         moment
	Notes        []note
}

// showSession serves one session, with its history.
func (v *visit) showSession() error {
	s, err := v.Admin.Session(v.ctx(), v.Caller, v.Tenant, v.param("sid"))
	if err != nil {
		return err
	}
	p := sessionPage{
		sessionRow: v.sessionRow(*s), Ends: when(s.ExpiresAt, v.now), AuthTime: when(s.AuthTime, v.now),
		UserHref: v.userHref(s.User), Others: query(v.at("sessions"), "user", s.User),
	}
	if s.IdleExpiresAt != nil {
		p.Idle = when(*s.IdleExpiresAt, v.now)
	}
	if v.May("end-session") && s.State == "active" {
		p.EndHref = v.at("sessions", s.ID, "end")
	}
	for _, acr := range sortedKeys(s.ACRTimes) {
		p.Classes = append(p.Classes, classAge{acr, when(time.Unix(s.ACRTimes[acr], 0), v.now)})
	}
	for _, f := range s.Factors {
		p.Factors = append(p.Factors, factorAge{f, when(f.At, v.now)})
	}
	p.Timeline = v.timeline(s)
	return v.render("session", "Session of "+s.User, p)
}

// timeline returns what happened in a session, the oldest first. The refreshes are
// counted, and not recorded one by one.
func (v *visit) timeline(s *admin.Session) (list []timelineEntry) {
	refreshed := false
	refreshes := func() {
		if !refreshed && s.Generation > 1 {
			list = append(list, timelineEntry{Title: "Refreshed " + times(int(s.Generation)-1), When: v.lastActive(*s), Notes: []note{{"the time is that of", "the last activity"}}})
		}
		refreshed = true
	}
	begun := false
	for i, e := range s.Events {
		shown := v.showEvent(e)
		// Reuse is recorded twice: that it was detected, and that it ended the session.
		if i > 0 && e.Type == s.Events[i-1].Type && e.At.Equal(s.Events[i-1].At) {
			last := &list[len(list)-1]
			last.Notes = append(last.Notes, shown.Notes...)
			continue
		}
		if s.LastActiveAt.Before(e.At) && begun {
			refreshes()
		}
		begun = begun || e.Type == "session.created"
		list = append(list, timelineEntry{shown.Title, shown.Class, shown.When, shown.Notes})
	}
	refreshes()
	if s.State == "active" {
		list = append(list, timelineEntry{Title: "Ends at the latest", When: when(s.ExpiresAt, v.now)})
	}
	return list
}

// endSession ends one session, after its page has been confirmed.
func (v *visit) endSession() error {
	sid := v.param("sid")
	s, err := v.Admin.Session(v.ctx(), v.Caller, v.Tenant, sid)
	if err != nil {
		return err
	}
	c := confirmation{
		Heading: "End this session?", What: "the user's id", Word: s.User, Button: "End 1 session", Back: v.at("sessions", sid),
		Text: []string{
			"This ends 1 session: " + s.User + " at the client " + s.Client + ", with " + describeDevice(s.Device, nil).Words + ".",
			"The server refuses its refresh token at once. Access tokens are refused by whoever introspects them or follows revocations, and otherwise until they expire. The user can sign in again.",
		},
	}
	if ok, err := v.confirmed(c, nil); !ok {
		return err
	}
	if err := v.Admin.EndSession(v.ctx(), v.Caller, v.Tenant, sid); err != nil {
		_, err = v.confirmed(c, err)
		return err
	}
	return v.redirect(v.at("sessions", sid), "The session has ended.")
}

// endSessions ends every session of a user, of a client, or of a user at a client.
func (v *visit) endSessions() error {
	user, client := v.query("user"), v.query("client")
	if v.g.Request.Method == http.MethodPost {
		user, client = v.form("user"), v.form("client")
	}
	n, ending, err := v.countSessions(user, client)
	if err != nil {
		return err
	}
	whose := "of the user " + user
	word, what := user, "the user's id"
	switch {
	case user == "":
		whose, word, what = "at the client "+client, client, "the client's id"
	case client != "":
		whose += " at the client " + client
	}
	c := confirmation{
		Heading: "End " + ending + "?", What: what, Word: word, Button: "End " + ending,
		Back: query(v.at("sessions"), "user", user, "client", client), Fields: map[string]string{"user": user, "client": client, "count": strconv.Itoa(n)},
		Text: []string{"This ends " + ending + " " + whose + ".", "The users can sign in again. If more sessions have begun since this page was loaded, none ends."},
	}
	ok, err := v.confirmed(c, nil)
	if !ok {
		return err
	}
	done, err := v.Admin.EndSessions(v.ctx(), v.Caller, v.Tenant, user, client, atoi(v.form("count")))
	if err != nil {
		_, err = v.confirmed(c, err)
		return err
	}
	return v.redirect(c.Back, plural(done.Ended, "session")+" ended.")
}

// exportSessions sends the sessions that the search finds as a file of JSON lines.
func (v *visit) exportSessions() error {
	q, err := v.sessionSearch()
	if err != nil {
		return err
	}
	if err := v.Admin.MayExport(v.ctx(), v.Caller, v.Tenant, q); err != nil {
		return err
	}
	v.g.Header("Content-Type", "application/jsonl")
	v.g.Header("Content-Disposition", fmt.Sprintf(`attachment; filename="sessions-%s-%s.jsonl"`, v.Tenant, v.now.UTC().Format("20060102-1504")))
	write := v.stream()
	if err := v.Admin.ExportSessions(v.ctx(), v.Caller, v.Tenant, q, func(line []byte) error { return write(string(line)) }); err != nil {
		if v.ctx().Err() == nil { // otherwise the reader went away
			v.Log.Error("an export of sessions was not completed", "request", v.Caller.RequestID, "tenant", v.Tenant, "error", err)
		}
		panic(http.ErrAbortHandler) // so that the file does not look complete
	}
	return nil
}

// streamWrite bounds the time that a browser takes to read one part of a stream.
const streamWrite = 10 * time.Second

// stream returns a function that sends a part of a response without delay.
func (v *visit) stream() func(text string) error {
	rc := http.NewResponseController(v.g.Writer)
	return func(text string) error {
		if err := rc.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
			return err
		}
		if _, err := v.g.Writer.WriteString(text); err != nil {
			return err
		}
		return rc.Flush()
	}
}

// sortedKeys returns the names of a map in their order.
func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// liveSessions returns a number of sessions that the store counts up to 10,000.
func liveSessions(n int) string {
	if n > models.ManySessions {
		return upTo(n) + " live sessions"
	}
	return plural(n, "live session")
}

// upTo returns a number that the store counts up to 10,000.
func upTo(n int) string {
	if n > models.ManySessions {
		return "more than " + number(models.ManySessions)
	}
	return number(n)
}

// countSessions returns the most live sessions that the operator agrees to end, of a
// user, of a client, or of a user at a client, and how many there are, in words.
func (v *visit) countSessions(user, client string) (most int, ending string, err error) {
	n, err := v.Admin.CountSessions(v.ctx(), v.Caller, v.Tenant, user, client)
	switch {
	case errors.Is(err, models.ErrTooManyStored):
		return admin.MaxConfirm, "all live sessions", nil
	case n > models.ManySessions:
		return admin.MaxConfirm, liveSessions(n), err
	}
	return n, liveSessions(n), err
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return number(n) + " times"
}

// fieldName returns the name of a parameter in words.
func fieldName(name string) string {
	words := map[string]string{"ip": "address", "q": "search", "type": "type"}
	if w, known := words[name]; known {
		return w
	}
	return spaced(name)
}
