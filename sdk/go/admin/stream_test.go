package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/admin"
)

// events sends a stream of server-sent events, which then ends, or stays open.
func events(open bool, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, text)
		w.(http.Flusher).Flush()
		if open {
			<-r.Context().Done()
		}
	}
}

func event(id string) string {
	return fmt.Sprintf("id: %s\ndata: {\"id\":%q,\"type\":\"session.created\",\"at\":\"2026-11-30T12:00:00Z\",\"details\":{\"n\":9007199254740993}}\n\n", id, id)
}

func TestEventsAreFollowedOverBrokenStreams(t *testing.T) {
	s := newFakeServer(t,
		events(false, ": connected\nid: 0\n\n"),                                                  // lost before the first event
		events(false, ": connected\n\n"+event("1")+": alive\n\n"+event("2")+"id: 3\ndata: {}\n"), // an event is cut off
		problem(503, "temporarily_unavailable"),
		cut,
		events(false, event("1")+event("2")+event("3")), // the server goes back a little
		problem(401, "unauthorized"),
	)
	var got []string
	var lost int
	var end error
	for e, err := range s.client.Events.Follow(t.Context(), "default", admin.EventQuery{Types: []string{"session."}, Limit: 9}, admin.FollowOptions{OnDisconnect: func(error) { lost++ }}) {
		if end = err; err == nil {
			got = append(got, e.ID+" "+fmt.Sprint(e.Details["n"]))
		}
	}
	if want := "1 9007199254740993,2 9007199254740993,3 9007199254740993"; strings.Join(got, ",") != want || lost < 4 { // net/http repeats one request by itself
		t.Errorf("%q after %d losses", got, lost)
	}
	var refusal *latchkey.Error
	if !errors.As(end, &refusal) || refusal.StatusCode != 401 {
		t.Errorf("it ends with %v", end)
	}
	for n, want := range []string{"", "0", "2", "2", "2", "3"} {
		if last := s.header(n, "Last-Event-ID"); last != want {
			t.Errorf("request %d: Last-Event-ID %q, want %q", n, last, want)
		}
	}
	if want := "GET /admin/v1/tenants/default/events/stream?type=session."; s.seen()[0] != want {
		t.Errorf("sent %s", s.seen()[0])
	}
}

func TestFollowingEnds(t *testing.T) {
	t.Run("with its context", func(t *testing.T) {
		s := newFakeServer(t, events(true, event("1")))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var end error
		for _, err := range s.client.Events.Follow(ctx, "default", admin.EventQuery{}, admin.FollowOptions{LastEventID: "0"}) {
			end = err
			cancel()
		}
		if end != context.Canceled || s.header(0, "Last-Event-ID") != "0" {
			t.Errorf("it ends with %v", end)
		}
	})
	t.Run("when its caller stops", func(t *testing.T) {
		s := newFakeServer(t, events(true, event("1")+event("2")))
		for e, err := range s.client.Events.Follow(t.Context(), "default", admin.EventQuery{}, admin.FollowOptions{}) {
			if e.ID != "1" || err != nil {
				t.Errorf("%+v, %v", e, err)
			}
			break
		}
	})
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"at a refusal":             {problem(403, "forbidden"), "403 forbidden"},
		"at what is no stream":     {answer(200, "{}"), "which is not from the admin API"},
		"at an event of no sense":  {events(false, "data: {\n\n"), "invalid JSON in the stream"},
		"if nothing ever answered": {cut, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFakeServer(t, c.answer)
			client, err := admin.New(admin.Config{Server: s.URL, Key: key, RetryWindow: 300 * 1e6})
			if err != nil {
				t.Fatal(err)
			}
			var ends []error
			for _, err := range client.Events.Follow(t.Context(), "default", admin.EventQuery{}, admin.FollowOptions{}) {
				ends = append(ends, err)
			}
			if len(ends) != 1 || ends[0] == nil || !strings.Contains(ends[0].Error(), c.want) {
				t.Errorf("it ends with %v", ends)
			}
		})
	}
}

func TestAnExportIsReadLineByLine(t *testing.T) {
	lines := "{\"id\":\"a\",\"generation\":1}\n{\"id\":\"b\"}\n"
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"whole": {answer(200, lines), "a,b"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, lines)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "a,b,incomplete"},
		"refused":  {problem(403, "forbidden"), "forbidden"},
		"mangled":  {answer(200, lines+"<html>\n"), "a,b,invalid JSON"},
		"of none":  {answer(200, ""), ""},
		"cut line": {answer(200, lines+`{"id":`), "a,b,invalid JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFakeServer(t, c.answer)
			var got []string
			for session, err := range s.client.Sessions.Export(t.Context(), "default", admin.SessionQuery{State: "active", Limit: 7, Cursor: "x"}) {
				switch {
				case err == nil:
					got = append(got, session.ID)
				default:
					for _, word := range []string{"incomplete", "forbidden", "invalid JSON"} {
						if strings.Contains(err.Error(), word) {
							got = append(got, word)
						}
					}
				}
			}
			if strings.Join(got, ",") != c.want {
				t.Errorf("%q", got)
			}
			if want := "GET /admin/v1/tenants/default/sessions/export?state=active"; s.seen()[0] != want {
				t.Errorf("sent %s", s.seen()[0])
			}
		})
	}
}
