package testevents

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
)

func TestAStepUpIsAnAssuranceLevelChange(t *testing.T) {
	t.Parallel()
	d := transmitter(t, testdb.SQLite(t), polled("stream"))
	in := d.SignInAtBackend("alice")
	d.Clock.Advance(time.Second)
	d.Want(200, "", d.StepUp(in.Text("latchkey_session_token"), d.Proof("alice", "pwd", "otp")))
	sets, _ := poll(d, "stream", now)
	for _, text := range sets {
		s := verified(d, "", text)
		if s.Type == "session-established" {
			continue
		}
		if s.Type != "assurance-level-change" || s.Event["namespace"] != "RFC6711" || s.Event["change_direction"] != "increase" || s.Event["current_level"] == nil {
			t.Errorf("%s: %v", s.Type, s.Event)
		}
	}
	if len(sets) != 2 {
		t.Errorf("%d tokens", len(sets))
	}
}

func TestAPushedTokenIsRepeatedAfterAnOutageButNotAfterARefusal(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		answers := make(chan int, 3)
		answers <- http.StatusServiceUnavailable
		answers <- http.StatusBadRequest
		type request struct{ token, contentType, accept string }
		requests := make(chan request, 10)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			requests <- request{string(body), r.Header.Get("Content-Type"), r.Header.Get("Accept")}
			select {
			case status := <-answers:
				w.WriteHeader(status)
				io.WriteString(w, `{"err":"invalid_key","description":"unknown kid"}`)
			default:
				w.WriteHeader(http.StatusAccepted)
			}
		}))
		t.Cleanup(server.Close)
		destination := (&pushed{URL: server.URL}).destination("pushed")
		d := transmitter(t, url, destination)
		d.SignIn("alice")
		next := func() (request, set) {
			t.Helper()
			for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); {
				select {
				case r := <-requests:
					return r, verified(d, "", r.token)
				case <-time.After(100 * time.Millisecond):
					d.Clock.Advance(time.Second) // towards the retry
				}
			}
			t.Fatal("no request")
			return request{}, set{}
		}
		first, a := next()
		_, b := next()
		if first.contentType != "application/secevent+jwt" || first.accept != "application/json" || a.Claims["jti"] != b.Claims["jti"] {
			t.Errorf("%+v; jti %v and %v", first, a.Claims["jti"], b.Claims["jti"])
		}
		d.SignIn("bob")
		if _, c := next(); c.Claims["jti"] == a.Claims["jti"] {
			t.Error("a token that the receiver refused was sent again")
		}
		key := models.DestinationKey{Tenant: "default", ID: "pushed"}
		for deadline := time.Now().Add(waitTimeout); ; time.Sleep(20 * time.Millisecond) {
			dead, err := d.Store.Deliveries(t.Context(), key, true, models.EventID{}, 10)
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("given up: %+v, %v", dead, err)
			}
			if len(dead) == 1 && dead[0].Event.String() == fmt.Sprint(a.Claims["jti"]) && dead[0].Status == 400 {
				break
			}
		}
	})
}
