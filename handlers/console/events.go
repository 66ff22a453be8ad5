package console

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/latchkey/latchkey/handlers/admin"
)

// eventsPage is the list of events.
type eventsPage struct {
	Search     map[string]string
	Chips      []chip
	More       bool
	Rows       []eventRow
	Stream     string // where the page follows new events; empty: not possible
	Deployment bool   // the events that belong to no tenant
	Tenant     string // the list of the tenant's events
	OfServer   string // the list of the deployment's events; empty: the role may not
	Types      []string
	pager
}

type eventRow struct {
	shownEvent
	UserHref, SessionHref string
}

var eventFilters = []string{"type", "user", "client", "session", "after", "before"}

// eventTypes are suggestions for the filter. One that ends in a dot finds every type that
// begins with it.
var eventTypes = []string{
	"session.", "session.created", "session.ended.", "session.ended.reuse_detected", "session.stepped_up", "session.refresh_retried_late", "session.refresh_shared",
	"session.new_device", "client_token.", "client_token.refused", "client_token.replayed", "client.authentication_failed", "config.changed", "key.", "key.rotated", "key.retired",
}

// events serves the search of events, the newest first.
func (v *visit) events() error {
	p := eventsPage{Search: map[string]string{}, Types: eventTypes, Deployment: v.query("of") == "deployment", Tenant: v.at("events")}
	for _, name := range eventFilters {
		p.Search[name] = v.query(name)
	}
	p.Chips = v.chips(eventFilters)
	p.More = p.Search["session"] != "" || p.Search["after"] != "" || p.Search["before"] != ""
	if v.May("list-deployment-events") {
		p.OfServer = v.at("events") + "?of=deployment"
	}
	q, err := v.eventSearch()
	var list *admin.List[admin.Event]
	if err == nil {
		of := v.Tenant
		if p.Deployment {
			of = ""
		}
		q.Cursor, q.Limit = v.query("cursor"), pageSize
		list, err = v.Admin.Events(v.ctx(), v.Caller, of, q)
	}
	if err != nil {
		return v.renderProblem("events", "Events", p, err)
	}
	for _, e := range list.Items {
		p.Rows = append(p.Rows, v.eventRow(e))
	}
	p.pager = v.pager(list.NextCursor)
	if !p.Deployment && p.First == "" && v.query("before") == "" {
		p.Stream = v.at("events", "stream")
		if q := v.g.Request.URL.RawQuery; q != "" {
			p.Stream += "?" + q
		}
	}
	return v.render("events", "Events", p)
}

func (v *visit) eventRow(e admin.Event) eventRow {
	row := eventRow{shownEvent: v.showEvent(e)}
	if e.User != "" && v.Tenant != "" {
		row.UserHref = v.userHref(e.User)
	}
	if e.Session != "" && v.Tenant != "" {
		row.SessionHref = v.at("sessions", e.Session)
	}
	return row
}

func (v *visit) eventSearch() (q admin.EventSearch, err error) {
	q = admin.EventSearch{User: v.query("user"), Client: v.query("client"), Session: v.query("session")}
	for t := range strings.SplitSeq(v.query("type"), ",") {
		if t = strings.TrimSpace(t); t != "" {
			q.Types = append(q.Types, t)
		}
	}
	if q.After, err = v.timeOf("after"); err != nil {
		return q, err
	}
	q.Before, err = v.timeOf("before")
	return q, err
}

// dataLines begins every line of a row as data. In an event stream a carriage return ends
// a line, too, so that a stored text could otherwise begin another field, such as
// "event: end".
var dataLines = strings.NewReplacer("\r\n", "\ndata: ", "\r", "\ndata: ", "\n", "\ndata: ")

// stillSignedIn is the interval at which a stream checks the session of the console.
const stillSignedIn = 5 * time.Second

// followEvents sends the rows of new events, for as long as the operator is signed in.
func (v *visit) followEvents() error {
	q, err := v.eventSearch()
	if err != nil {
		return err
	}
	v.g.Header("Content-Type", "text/event-stream")
	v.g.Header("X-Accel-Buffering", "no")
	send := v.stream()
	checked, quiet, begun := time.Now(), time.Now(), false
	err = v.Admin.FollowEventsAfter(v.ctx(), v.Caller, v.Tenant, q, v.g.GetHeader("Last-Event-ID"), func(events []admin.Event) error {
		if !begun {
			begun = true
			if err := send(": connected\n\n"); err != nil {
				return err
			}
		}
		if time.Since(checked) > stillSignedIn {
			if _, _, err := v.current(v.g); err != nil {
				return err
			}
			checked = time.Now()
		}
		for _, e := range events {
			var row bytes.Buffer
			if err := templates.ExecuteTemplate(&row, "event-row", v.eventRow(e)); err != nil {
				return err
			}
			quiet = time.Now()
			if err := send(fmt.Sprintf("id: %s\ndata: %s\n\n", e.ID, dataLines.Replace(strings.TrimSpace(row.String())))); err != nil {
				return err
			}
		}
		if time.Since(quiet) > 15*time.Second {
			quiet = time.Now()
			return send(": alive\n\n")
		}
		return nil
	})
	if !begun {
		return err
	}
	if v.ctx().Err() == nil {
		_ = send("event: end\ndata: signed out\n\n") // the response has begun, so an error cannot be reported
	}
	return nil
}
