package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	handlersadmin "github.com/latchkey/latchkey/handlers/admin"
	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/admin"
	"github.com/latchkey/latchkey/settings"
)

// management is the part of the admin API for which there is no older command: over
// HTTP, or in this process on the database of the configuration.
type management interface {
	sessions(ctx context.Context, tenant string, q admin.SessionQuery) (*admin.Page[admin.Session], error)
	session(ctx context.Context, tenant, sid string) (*admin.Session, error)
	endSession(ctx context.Context, tenant, sid string) error
	endSessions(ctx context.Context, tenant, user, client string, atMost int) (int, error)
	events(ctx context.Context, tenant string, q admin.EventQuery) (*admin.Page[admin.Event], error)
	follow(ctx context.Context, tenant string, q admin.EventQuery, lost func(error), show func(admin.Event) error) error
	explain(ctx context.Context, tenant string, p admin.ExplainParams) (*admin.Explanation, error)

	destinations(ctx context.Context, tenant string) ([]admin.EventDestination, error)
	testDestination(ctx context.Context, tenant, id string) (*admin.EventDelivery, error)
	deliveries(ctx context.Context, tenant, id string, q deliveryQuery) (*admin.Page[admin.EventDelivery], error)
	redeliverDead(ctx context.Context, tenant, id string) (int64, error)
	redeliverSince(ctx context.Context, tenant, id string, since time.Time) error
	enableDestination(ctx context.Context, tenant, id string) (*admin.EventDestination, error)
	newDestinationSecret(ctx context.Context, tenant, id, previousUntil string) (*admin.NewSecret, error)
}

// manage calls fn with the management of a deployment.
func (s *sharedFlags) manage(cmd *cobra.Command, fn func(management) error) error {
	return s.either(cmd, func(client *admin.Client) error { return fn(remoteManagement{client}) }, func() error {
		return withDeployment(cmd, s, func(d *existing) error {
			server, err := newServer(d.config, d.store, d.keys, d.log)
			if err != nil {
				return err
			}
			service := &handlersadmin.Service{Store: d.store, OAuth: server, Keys: d.keys, BaseURL: d.config.Issuer, Log: d.log}
			return readable(fn(localManagement{service, handlersadmin.Machine(machine().Name)}))
		})
	})
}

// remoteManagement calls the admin API.
type remoteManagement struct{ client *admin.Client }

func (r remoteManagement) sessions(ctx context.Context, tenant string, q admin.SessionQuery) (*admin.Page[admin.Session], error) {
	return r.client.Sessions.Page(ctx, tenant, q)
}

func (r remoteManagement) session(ctx context.Context, tenant, sid string) (*admin.Session, error) {
	return r.client.Sessions.Get(ctx, tenant, sid)
}

func (r remoteManagement) endSession(ctx context.Context, tenant, sid string) error {
	return r.client.Sessions.End(ctx, tenant, sid)
}

func (r remoteManagement) endSessions(ctx context.Context, tenant, user, client string, atMost int) (int, error) {
	return r.client.Sessions.EndAll(ctx, tenant, user, client, atMost)
}

func (r remoteManagement) events(ctx context.Context, tenant string, q admin.EventQuery) (*admin.Page[admin.Event], error) {
	return r.client.Events.Page(ctx, tenant, q)
}

func (r remoteManagement) follow(ctx context.Context, tenant string, q admin.EventQuery, lost func(error), show func(admin.Event) error) error {
	for event, err := range r.client.Events.Follow(ctx, tenant, q, admin.FollowOptions{OnDisconnect: lost}) {
		if err == nil {
			err = show(event)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r remoteManagement) explain(ctx context.Context, tenant string, p admin.ExplainParams) (*admin.Explanation, error) {
	return r.client.Explain(ctx, tenant, p)
}

// localManagement calls the operations behind the admin API.
type localManagement struct {
	service *handlersadmin.Service
	caller  *handlersadmin.Caller
}

// converted returns what an operation has returned as the client of the API returns
// it.
func converted[T any](v any, err error) (*T, error) {
	if err != nil {
		return nil, refusalOf(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	into := new(T)
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return into, d.Decode(into)
}

// refusalOf returns an error as the client of the API returns it. A fault of the
// server stays as it is: whoever runs a command there may see the cause.
func refusalOf(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	problem := handlersadmin.ProblemOf(err)
	if problem.Status >= http.StatusInternalServerError {
		return err
	}
	refusal := &latchkey.Error{StatusCode: problem.Status, Code: problem.Code, Description: problem.Detail}
	for _, f := range problem.Errors {
		refusal.Faults = append(refusal.Faults, latchkey.Fault(f))
	}
	return refusal
}

func (l localManagement) sessions(ctx context.Context, tenant string, q admin.SessionQuery) (*admin.Page[admin.Session], error) {
	list, err := l.service.Sessions(ctx, l.caller, tenant, sessionSearch(q))
	return converted[admin.Page[admin.Session]](list, err)
}

func sessionSearch(q admin.SessionQuery) handlersadmin.SessionSearch {
	return handlersadmin.SessionSearch{
		User: q.User, Client: q.Client, Issuer: q.Issuer, State: q.State, IP: q.IP, CreatedAfter: q.CreatedAfter, CreatedBefore: q.CreatedBefore,
		ActiveAfter: q.ActiveAfter, ActiveBefore: q.ActiveBefore, Cursor: q.Cursor, Limit: q.Limit,
	}
}

func (l localManagement) session(ctx context.Context, tenant, sid string) (*admin.Session, error) {
	session, err := l.service.Session(ctx, l.caller, tenant, sid)
	return converted[admin.Session](session, err)
}

func (l localManagement) endSession(ctx context.Context, tenant, sid string) error {
	return refusalOf(l.service.EndSession(ctx, l.caller, tenant, sid))
}

func (l localManagement) endSessions(ctx context.Context, tenant, user, client string, atMost int) (int, error) {
	done, err := l.service.EndSessions(ctx, l.caller, tenant, user, client, atMost)
	if err != nil {
		return 0, refusalOf(err)
	}
	return done.Ended, nil
}

func (l localManagement) events(ctx context.Context, tenant string, q admin.EventQuery) (*admin.Page[admin.Event], error) {
	list, err := l.service.Events(ctx, l.caller, tenant, eventSearch(q))
	return converted[admin.Page[admin.Event]](list, err)
}

func (l localManagement) follow(ctx context.Context, tenant string, q admin.EventQuery, _ func(error), show func(admin.Event) error) error {
	return refusalOf(l.service.FollowEvents(ctx, l.caller, tenant, eventSearch(q), func(e handlersadmin.Event) error {
		event, err := converted[admin.Event](e, nil)
		if err != nil {
			return err
		}
		return show(*event)
	}))
}

func eventSearch(q admin.EventQuery) handlersadmin.EventSearch {
	return handlersadmin.EventSearch{Types: q.Types, User: q.User, Client: q.Client, Session: q.Session, After: q.After, Before: q.Before, Cursor: q.Cursor, Limit: q.Limit}
}

func (l localManagement) explain(ctx context.Context, tenant string, p admin.ExplainParams) (*admin.Explanation, error) {
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	e, err := l.service.Explain(ctx, l.caller, tenant, body)
	return converted[admin.Explanation](e, err)
}

// moment is a flag with a time: in RFC 3339, or how long ago.
type moment struct{ time.Time }

// Set implements pflag.Value.
func (m *moment) Set(text string) error {
	if ago, err := settings.ParseDuration(text); err == nil && ago > 0 {
		m.Time = time.Now().Add(-ago.Std())
		return nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return errors.New(`must be a time such as 2026-11-30T12:00:00Z, or how long ago, such as "12h" or "7d"`)
	}
	m.Time = at
	return nil
}

// String implements pflag.Value.
func (m *moment) String() string {
	if m.IsZero() {
		return ""
	}
	return m.Format(time.RFC3339)
}

// Type implements pflag.Value.
func (m *moment) Type() string { return "time" }

// orDash is for a column of a table. What users choose may not control the terminal.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return printable(text)
}

// readToken reads a token from a file, or from standard input for "-".
func readToken(cmd *cobra.Command, path string) (string, error) {
	const most = 64 << 10
	if path == "-" {
		if file, ok := cmd.InOrStdin().(*os.File); ok && isTerminal(file) {
			fmt.Fprintln(cmd.ErrOrStderr(), "Paste the client token, then press Enter and Ctrl-D.")
		}
	}
	text, err := readFile(cmd, path, most)
	return strings.TrimSpace(text), err
}

// isTerminal reports whether somebody types into a file.
func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
