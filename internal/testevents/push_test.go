package testevents

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
)

func TestAStepUpIsAnAssuranceLevelChange(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		in := d.SignInBy("alice", "pwd")
		token := in.Text("refresh_token")
		for _, amr := range []string{"otp", "sms"} {
			d.Clock.Advance(time.Second)
			a := d.Want(200, "", d.StepUp(token, d.Proof("alice", amr)))
			token = a.Text("refresh_token")
		}
		const low, high = "urn:latchkey:acr:1", "urn:latchkey:acr:2"
		sets, _ := poll(d, "stream", now)
		texts := inOrder(d, sets)
		if len(texts) != 3 {
			t.Fatalf("%d tokens", len(texts))
		}
		for i, want := range []map[string]any{
			{"acr": low, "amr": []any{"pwd"}, "ext_id": in.Text("session_id")},
			{"namespace": "RFC6711", "previous_level": low, "current_level": high, "change_direction": "increase"},
			{"namespace": "RFC6711", "previous_level": high, "current_level": high}, // a second code raises nothing
		} {
			s := verified(d, "", texts[i])
			if name := []string{"session-established", "assurance-level-change", "assurance-level-change"}[i]; s.Type != name {
				t.Errorf("event %d is %s, want %s", i, s.Type, name)
			}
			delete(s.Event, "event_timestamp")
			if !reflect.DeepEqual(s.Event, want) {
				t.Errorf("%s: %v, want %v", s.Type, s.Event, want)
			}
		}
	})
}

// Otherwise the receiver would take the end of one issuer's sessions for that of every
// session of the tenant.
func TestTheEndOfEverySessionOfAnIssuerNamesTheIssuer(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream", only("session.ended.")))
		d.SignIn("alice")
		suspend := func(kind, id string) {
			_, err := d.Store.Suspend(t.Context(), d.Keys, models.Ref{Kind: kind, Tenant: "default", ID: id}, models.Actor{Name: "test", Role: models.RoleMachine}, "an exercise")
			if err != nil {
				t.Fatal(err)
			}
			d.Clock.Advance(time.Second)
		}
		suspend(models.KindIssuer, d.Issuer.URL)
		suspend(models.KindClient, "web")
		suspend(models.KindUser, "alice")
		sets, _ := poll(d, "stream", now)
		opaque := func(id string) map[string]any { return map[string]any{"format": "opaque", "id": id} }
		entry := d.Issuer.Entry()
		texts := inOrder(d, sets)
		if len(texts) != 3 {
			t.Fatalf("%d tokens", len(texts))
		}
		for i, want := range []map[string]any{
			{"issuer": opaque(entry.EntryID())},
			{"application": opaque("web")},
			{"user": map[string]any{"format": "iss_sub", "iss": d.URL, "sub": "alice"}},
		} {
			s := verified(d, "", texts[i])
			want["format"], want["tenant"] = "complex", opaque("default")
			if !reflect.DeepEqual(s.Claims["sub_id"], any(want)) || s.Event["initiating_entity"] != "admin" {
				t.Errorf("%v by %v, want %v", s.Claims["sub_id"], s.Event["initiating_entity"], want)
			}
		}
	})
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
