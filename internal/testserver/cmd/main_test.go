package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
)

// started is a test server in this process, with its first session.
type started struct {
	t                *testing.T
	Issuer, Control  string
	ClientID         string `json:"client_id"`
	refresh, session string
}

func start(t *testing.T) *started {
	t.Helper()
	in, stop := io.Pipe()
	out, stdout := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run("", "", testserver.Web(), in, stdout)
	}()
	t.Cleanup(func() {
		_ = stop.Close()
		<-ended
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	s := &started{t: t}
	if err := json.Unmarshal(line, s); err != nil {
		t.Fatal(err)
	}
	a := s.token(url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
		"subject_token": {s.control("/client-token", `{"sub":"alice"}`)["token"].(string)},
	})
	s.refresh, s.session = a["refresh_token"].(string), a["session_id"].(string)
	return s
}

// control sends a control request, which must succeed.
func (s *started) control(path, body string) (answer map[string]any) {
	s.t.Helper()
	resp, err := http.Post(s.Control+path, "application/json", strings.NewReader(body))
	return s.read(resp, err)
}

func (s *started) read(resp *http.Response, err error) (answer map[string]any) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != 200 {
		s.t.Fatalf("status %d %v, %v", resp.StatusCode, answer, err)
	}
	return answer
}

// token sends a request to the token endpoint as the client web.
func (s *started) token(form url.Values) map[string]any {
	s.t.Helper()
	form.Set("client_id", s.ClientID)
	resp, err := http.PostForm(s.Issuer+"/token", form)
	return s.read(resp, err)
}

// generation returns how often the session was refreshed.
func (s *started) generation() float64 {
	s.t.Helper()
	resp, err := http.Get(s.Control + "/sessions?sub=alice")
	list := s.read(resp, err)["sessions"].([]any)
	if len(list) != 1 {
		s.t.Fatalf("alice has the sessions %v", list)
	}
	only := list[0].(map[string]any)
	if only["id"] != s.session || only["live_chains"] != 1.0 {
		s.t.Fatalf("the session is %v", only)
	}
	return only["generation"].(float64)
}

func (s *started) form() url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.refresh}}
}

func TestALostResponseBelongsToACommittedRequest(t *testing.T) {
	s := start(t)
	before := s.generation()
	s.control("/answers", `{"lose":1}`)
	form := s.form()
	form.Set("client_id", s.ClientID)
	resp, err := http.PostForm(s.Issuer+"/token", form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err == nil {
		t.Fatalf("the lost answer arrived: %s", text)
	}
	if after := s.generation(); after != before+1 {
		t.Errorf("the generation is %v, was %v", after, before)
	}
	if again := s.token(s.form()); again["session_id"] != s.session {
		t.Errorf("the next answer is %v", again)
	}
}

func TestAHeldResponseBelongsToACommittedRequest(t *testing.T) {
	s := start(t)
	before := s.generation()
	s.control("/answers", `{"hold":1}`)
	arrived := make(chan string, 1)
	go func() {
		form := s.form()
		form.Set("client_id", s.ClientID)
		resp, err := http.PostForm(s.Issuer+"/token", form)
		if err != nil {
			arrived <- err.Error()
			return
		}
		defer resp.Body.Close()
		arrived <- resp.Status
	}()
	s.control("/answers/held", "")
	if after := s.generation(); after != before+1 {
		t.Errorf("the generation is %v, was %v", after, before)
	}
	select {
	case status := <-arrived:
		t.Fatalf("a held answer arrived: %s", status)
	default:
	}
	s.control("/answers/release", "")
	if status := <-arrived; status != "200 OK" {
		t.Errorf("the released answer is %s", status)
	}
}

func TestStoreTimeMoves(t *testing.T) {
	s := start(t)
	first := s.control("/clock", `{"advance":"0s"}`)["now"].(string)
	second := s.control("/clock", `{"advance":"48h"}`)["now"].(string)
	a, errA := time.Parse(time.RFC3339, first)
	b, errB := time.Parse(time.RFC3339, second)
	if errA != nil || errB != nil || b.Sub(a) != 48*time.Hour {
		t.Errorf("from %s to %s", first, second)
	}
}

// stream opens a revocation stream as the client backend.
func (s *started) stream() (*http.Response, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.Issuer+"/revocations", nil)
	if err != nil {
		return nil, err
	}
	r.SetBasicAuth("backend", "a-client-secret-for-tests-of-40-characters")
	r.Header.Set("Accept", "text/event-stream")
	return (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
}

func TestTheFeedStopsAndResumes(t *testing.T) {
	s := start(t)
	open, err := s.stream()
	if err != nil {
		t.Fatal(err)
	}
	defer open.Body.Close()
	s.control("/feed", `{"down":true}`)
	if _, err := io.ReadAll(open.Body); err != nil && !strings.Contains(err.Error(), "EOF") {
		t.Errorf("the open stream ended by %v", err)
	}
	if again, err := s.stream(); err == nil {
		again.Body.Close()
		t.Errorf("a new stream returned status %d", again.StatusCode)
	}
	s.control("/feed", `{"down":false}`)
	again, err := s.stream()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Body.Close()
	if line, err := bufio.NewReader(again.Body).ReadString('\n'); again.StatusCode != 200 || err != nil || line == "" {
		t.Errorf("afterwards: %d %q, %v", again.StatusCode, line, err)
	}
}

func TestAPausedFeedSendsNothing(t *testing.T) {
	s := start(t)
	s.control("/feed", `{"paused":true}`)
	told := make(chan error, 1)
	go func() {
		resp, err := s.stream()
		if err != nil {
			told <- err
			return
		}
		defer resp.Body.Close()
		_, err = bufio.NewReader(resp.Body).ReadString('\n')
		told <- err
	}()
	s.token(s.form()) // another complete request
	select {
	case err := <-told:
		t.Fatalf("a paused stream spoke: %v", err)
	default:
	}
	s.control("/feed", `{"paused":false}`)
	if err := <-told; err != nil {
		t.Error(err)
	}
}

func TestTheControlPortRejectsUnknownRequests(t *testing.T) {
	s := start(t)
	for _, c := range []struct{ path, body string }{
		{"/clock", `{"advance":"soon"}`}, {"/clock", `{"advance":"-1h"}`}, {"/answers", `{"loose":1}`}, {"/client-token", `{}`}, {"/feed", `{`},
	} {
		resp, err := http.Post(s.Control+c.path, "application/json", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s %s: %d", c.path, c.body, resp.StatusCode)
		}
	}
}
