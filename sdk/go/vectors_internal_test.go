package latchkey

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"reflect"
	"testing"
	"time"
)

// readVectors reads test vectors that the TypeScript SDK's tests read too.
func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile("../vectors/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func TestVectorsOfRefreshResponses(t *testing.T) {
	var file struct {
		Cases []struct {
			Name, Body, Verdict string
			Status              int
			ContentType         string `json:"content_type"`
		}
	}
	readVectors(t, "refresh_responses", &file)
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			request, _ := http.NewRequest(http.MethodPost, "https://id.example.com/token", nil)
			response := &http.Response{StatusCode: c.Status, Header: http.Header{"Content-Type": {c.ContentType}}, Request: request}
			err := withSessionEnded(endpoint{now: time.Now}.read(response, []byte(c.Body), &tokenResponse{}))
			if got := verdict(err); got != c.Verdict {
				t.Errorf("%s, want %s: %v", got, c.Verdict, err)
			}
		})
	}
	if len(file.Cases) < 20 {
		t.Errorf("only %d cases", len(file.Cases))
	}
}

// verdict names what the client does after an error.
func verdict(err error) string {
	switch {
	case errors.Is(err, ErrSessionEnded):
		return "end"
	case isSuperseded(err):
		return "reload"
	case errors.Is(err, ErrUnavailable) && !isMissingEndpoint(err):
		return "retry"
	}
	return "fail"
}

func TestVectorsOfChallenges(t *testing.T) {
	var file struct {
		Cases []struct {
			Name, Header string
			Demand       *struct {
				ACRValues []string `json:"acr_values"`
				MaxAge    *int64   `json:"max_age"`
			}
			InvalidToken bool `json:"invalid_token"`
		}
	}
	readVectors(t, "challenges", &file)
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			header := http.Header{"Www-Authenticate": {c.Header}}
			got, ok := ParseChallenge(header)
			if ok != (c.Demand != nil) || IsInvalidTokenChallenge(header) != c.InvalidToken {
				t.Fatalf("demand %v %v, invalid token %v", got, ok, IsInvalidTokenChallenge(header))
			}
			if !ok {
				return
			}
			if len(got.ACRValues) == 0 {
				got.ACRValues = nil
			}
			if !reflect.DeepEqual(got.ACRValues, c.Demand.ACRValues) || (got.MaxAge == nil) != (c.Demand.MaxAge == nil) {
				t.Fatalf("demand %v", got)
			}
			if got.MaxAge != nil && int64(*got.MaxAge/time.Second) != *c.Demand.MaxAge {
				t.Errorf("max_age %s, want %d s", *got.MaxAge, *c.Demand.MaxAge)
			}
		})
	}
	if len(file.Cases) < 10 {
		t.Errorf("only %d cases", len(file.Cases))
	}
}
