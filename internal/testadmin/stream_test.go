package testadmin

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

// stream is an open stream of events.
type stream struct {
	t     *testing.T
	lines *bufio.Scanner
}

// streamed is an event of a stream.
type streamed struct {
	id   string
	data object
}

// next returns the next event. It fails the test if the stream ends first.
func (s *stream) next() streamed {
	s.t.Helper()
	e, ok := s.read()
	if !ok {
		s.t.Fatalf("the stream ended: %v", s.lines.Err())
	}
	return e
}

// read returns the next event, or false at the end of the stream.
func (s *stream) read() (e streamed, ok bool) {
	for s.lines.Scan() {
		line := s.lines.Text()
		if id, is := strings.CutPrefix(line, "id: "); is {
			e.id = id
		}
		if data, is := strings.CutPrefix(line, "data: "); is {
			if err := json.Unmarshal([]byte(data), &e.data); err != nil {
				s.t.Errorf("data is not JSON: %v", err)
			}
		}
		if line == "" && e.data != nil {
			return e, true
		}
	}
	return e, false
}

// follow opens a stream of events, calls do when it is connected, and closes it.
func follow(t *testing.T, d *deployment, key, path string, do func(*stream), options ...option) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	o := request{header: http.Header{"Authorization": {"Bearer " + key}}}
	for _, option := range options {
		option(&o)
	}
	req, err := http.NewRequestWithContext(ctx, "GET", d.AdminURL+"/admin/v1"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = o.header
	if err := theDocument().checkRequest(req, nil); err != nil {
		t.Error(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("status %d %s", resp.StatusCode, text)
	}
	s := &stream{t: t, lines: bufio.NewScanner(resp.Body)}
	s.lines.Buffer(nil, 1<<20)
	if !s.lines.Scan() || s.lines.Text() != ": connected" {
		t.Fatalf("the stream begins with %q", s.lines.Text())
	}
	if err := theDocument().checkResponse(req, resp.StatusCode, resp.Header, []byte(": connected\n\n")); err != nil {
		t.Error(err)
	}
	d.seen.add(theDocument().find("GET", req.URL), nil, &testserver.Answer{Status: resp.StatusCode})
	do(s)
}

func TestAStreamReadsAnEventOnce(t *testing.T) {
	t.Parallel()
	trace := new(testserver.StatementLog)
	d := &deployment{Deployment: testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.Postgres(t), Admin: true, AdminLocal: true, Tracer: trace})}
	d.viewer, _ = d.NewAdminKey(oauth.AdminKeySpec{Name: "the viewer", Role: models.RoleViewer})
	for range 50 {
		d.SignIn("alice")
	}
	d.Clock.Advance(time.Second)
	follow(t, d, d.viewer, "/tenants/default/events/stream", func(s *stream) {
		d.SignIn("bob")
		if e := s.next(); e.data["user"] != "bob" {
			t.Errorf("the first event: %v", e.data)
		}
		reads, looks := 0, 0
		for _, statement := range trace.During(func() { time.Sleep(2500 * time.Millisecond) }) {
			if strings.Contains(statement, "select id from events") {
				looks++
			}
			if strings.Contains(statement, "from events") && strings.Contains(statement, "details") {
				reads++
			}
		}
		if looks == 0 || reads > 0 {
			t.Errorf("without a new event, the stream looked %d times and read events %d times", looks, reads)
		}
	})
}

// The id of an event begins with the time at which its request decided.
func TestAStreamSendsWhatIsCommittedLate(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		d.Clock.Advance(time.Second)
		follow(t, d, d.viewer, "/tenants/default/events/stream", func(s *stream) {
			d.SignIn("bob")
			d.Clock.Advance(15 * time.Second)
			if e := s.next(); e.data["user"] != "bob" {
				t.Errorf("the first event: %v", e.data)
			}
			late := models.Event{At: d.Clock.Now().Add(-14 * time.Second), TenantID: "default", Type: models.EventUserResumed, Subject: "late"}
			if err := d.Store.AddEvent(t.Context(), late); err != nil {
				t.Fatal(err)
			}
			d.Clock.Advance(5 * time.Second)
			if e := s.next(); e.data["user"] != "late" {
				t.Errorf("the second event: %v", e.data)
			}
		})
	})
}

func TestTheStreamsOfAKeyAreBounded(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, sqlite(t))
	const path = "/tenants/default/events/stream"
	open := func() (end func()) {
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "GET", d.AdminURL+"/admin/v1"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+d.viewer)
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		return func() { cancel(); resp.Body.Close() }
	}
	end := open()
	for range 15 {
		defer open()()
	}
	a := d.call(t, d.viewer, "GET", path, nil)
	wantProblem(t, "the 17th stream", 429, "too_many_streams", a)
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	follow(t, d, d.admin, path, func(*stream) {}) // another key
	end()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		req, err := http.NewRequestWithContext(ctx, "GET", d.AdminURL+"/admin/v1"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+d.viewer)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		cancel()
		if resp.StatusCode == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the end of a stream, the next one gets status %d", resp.StatusCode)
		}
	}
}
