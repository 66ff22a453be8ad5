package console

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
)

// overview is the content of the page Overview.
type overview struct {
	Live    live
	Issuers []admin.Issuer
	More    bool // there are more issuers
	Keys    []admin.SigningKey
	Steps   []step // until the first exchange; then nil
}

// live is the part of the page that is read again and again.
type live struct {
	Sessions, Exchanges, Refreshes, Refused, Reused int64
	With                                            int                    // clients with sessions
	Clients                                         []admin.ClientSessions // those with the most sessions
	Minutes, Days                                   chart
	Refusals                                        []refusal
	Nodes                                           *nodeList // nil: the operator may not see them
}

// refusal is how often requests were refused for one reason in the last hour.
type refusal struct {
	What   string // exchange or refresh
	Reason string // the latchkey_reason
	N      int64
	Width  float64 // of its bar, of 100
}

// step is one of the first steps of a new deployment.
type step struct {
	State       string // done, next or later
	Title, Text string
	Link, Href  string
	operation   string // which the role must include for the link
}

// overview serves the page Overview.
func (v *visit) overview() error {
	stats, err := v.Admin.Stats(v.ctx(), v.Caller, []string{v.Tenant})
	if err != nil {
		return err
	}
	data := overview{Live: newLive(v.Tenant, stats, v.now)}
	if data.Live.Nodes, err = v.nodes(); err != nil {
		return err
	}
	if v.g.GetHeader("HX-Request") != "" {
		return v.renderPart("overview-live", data)
	}
	issuers, err := v.Admin.Issuers(v.ctx(), v.Caller, v.Tenant, models.Page{Limit: 10})
	if err != nil {
		return err
	}
	data.Issuers, data.More = issuers.Items, issuers.NextCursor != ""
	ring, err := v.Admin.SigningKeys(v.ctx(), v.Caller, v.Tenant)
	if err != nil {
		return err
	}
	for _, k := range ring.Items {
		if k.State != "retired" {
			data.Keys = append(data.Keys, k)
		}
	}
	if data.Live.Sessions == 0 && !exchanged(stats) {
		if data.Steps, err = v.firstSteps(len(issuers.Items) > 0); err != nil {
			return err
		}
	}
	return v.render("overview", "Overview", data)
}

// exchanged reports whether a client token was ever exchanged, as far as the statistics
// reach.
func exchanged(s *admin.Stats) bool {
	ok := func(n admin.Stat) bool { return n.Name == "exchange.ok" }
	return slices.ContainsFunc(s.Minutes, ok) || slices.ContainsFunc(s.Days, ok)
}

// firstSteps returns what is left to do before the first exchange.
func (v *visit) firstSteps(trusts bool) ([]step, error) {
	clients, err := v.Admin.Clients(v.ctx(), v.Caller, v.Tenant, "", models.Page{Limit: 1})
	if err != nil {
		return nil, err
	}
	steps := []step{
		{State: "later", Title: "Trust your authentication service", Text: "Latchkey accepts the client tokens that it signs.", Link: "Add an issuer", Href: v.at("issuers", "new"), operation: "put-trusted-issuer"},
		{State: "later", Title: "Create a client", Text: "A client is an app of yours: it exchanges client tokens for sessions.", Link: "Create a client", Href: v.at("clients", "new"), operation: "put-client"},
		{State: "later", Title: "Exchange the first token", Text: "The client's page has the commands and the code, with its own values. This list goes away with the first exchange.", Link: "Open the clients", Href: v.at("clients")},
	}
	if len(clients.Items) > 0 {
		steps[2].Link, steps[2].Href = "Use the client", v.at("clients", clients.Items[0].ID, "integrate")
	}
	for i, done := range []bool{trusts, len(clients.Items) > 0} {
		if done {
			steps[i].State = "done"
		}
	}
	for i := range steps {
		if steps[i].operation != "" && !v.May(steps[i].operation) {
			steps[i].Link = ""
		}
		if steps[i].State == "later" && (i == 0 || steps[i-1].State == "done") {
			steps[i].State = "next"
			break
		}
	}
	return steps, nil
}

func newLive(tenant string, stats *admin.Stats, now time.Time) live {
	const day = 24 * time.Hour
	l := live{Sessions: stats.Sessions[tenant], With: len(stats.Clients), Clients: stats.Clients[:min(len(stats.Clients), 5)]}
	exchanges, refreshes, refused := newBuckets(now, time.Minute, 60), newBuckets(now, time.Minute, 60), newBuckets(now, time.Minute, 60)
	perDay := newBuckets(now, day, 30)
	reasons := map[refusal]int64{}
	for _, s := range stats.Minutes {
		of, rest, _ := strings.Cut(s.Name, ".")
		reason, isRefusal := strings.CutPrefix(rest, "refused.")
		switch {
		case isRefusal:
			refused.add(s.At, s.N)
			reasons[refusal{What: of, Reason: reason}] += s.N
		case of == "exchange":
			exchanges.add(s.At, s.N)
		case of == "refresh":
			refreshes.add(s.At, s.N)
		}
	}
	for _, s := range stats.Days {
		switch s.Name {
		case "exchange.ok":
			perDay.add(s.At, s.N)
		case "refresh.refused.refresh_reused":
			l.Reused += s.N
		}
	}
	l.Exchanges, l.Refreshes, l.Refused = exchanges.sum(), refreshes.sum(), refused.sum()
	l.Minutes = newChart("Last hour", "60 minutes ago", "a minute",
		series{Name: "Refreshes", n: refreshes.n, Area: true}, series{Name: "Exchanges", n: exchanges.n}, series{Name: "Refusals", n: refused.n})
	l.Days = newChart("Exchanges of the last 30 days", "30 days ago", "a day", series{Name: "Exchanges", n: perDay.n, Bars: true})
	for r, n := range reasons {
		r.N = n
		l.Refusals = append(l.Refusals, r)
	}
	slices.SortFunc(l.Refusals, func(a, b refusal) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.What+a.Reason, b.What+b.Reason))
	})
	l.Refusals = l.Refusals[:min(len(l.Refusals), 8)]
	for i := range l.Refusals {
		l.Refusals[i].Width = 100 * float64(l.Refusals[i].N) / float64(l.Refusals[0].N)
	}
	return l
}

// At returns the path of a page of the tenant, for templates.
func (v *visit) At(elements ...string) string { return v.at(elements...) }
