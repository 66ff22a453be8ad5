package delivery

import (
	"net/http"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

func TestWhatAnAnswerMeans(t *testing.T) {
	const hook, push = settings.DestinationWebhook, settings.DestinationPush
	for name, c := range map[string]struct {
		kind   string
		status int
		after  string // Retry-After
		want   outcome
	}{
		"a webhook is accepted with 204":            {hook, 204, "", outcome{accepted: true}},
		"a token is accepted with 202":              {push, 202, "", outcome{accepted: true}},
		"a redirect is a failure":                   {push, 307, "", outcome{}},
		"a webhook is repeated after 400":           {hook, 400, "", outcome{}},
		"a token is refused for good with 400":      {push, 400, "", outcome{final: true}},
		"a token is refused for good with 401":      {push, 401, "", outcome{final: true}},
		"a token is repeated after 408":             {push, 408, "", outcome{}},
		"a token is repeated after 429":             {push, 429, "7", outcome{wait: 7 * time.Second}},
		"a token is repeated after 500":             {push, 500, "7", outcome{}},
		"a webhook is repeated after 503":           {hook, 503, "7", outcome{wait: 7 * time.Second}},
		"Retry-After is bounded":                    {hook, 503, "999999", outcome{wait: mostWait}},
		"Retry-After of zero means nothing":         {hook, 503, "0", outcome{}},
		"a negative Retry-After means nothing":      {hook, 429, "-5", outcome{}},
		"Retry-After as a date means nothing":       {hook, 429, "Wed, 21 Oct 2026 07:28:00 GMT", outcome{}},
		"a receiver of webhooks may want no more":   {hook, 410, "", outcome{gone: true}},
		"a receiver of tokens may want no more too": {push, 410, "", outcome{gone: true}},
	} {
		var got outcome
		row := &models.Destination{Settings: settings.DestinationSettings{Type: c.kind}}
		(&Deliverer{}).judge(row, &http.Response{StatusCode: c.status, Header: http.Header{"Retry-After": {c.after}}}, nil, &got)
		if explained := got.Error != ""; explained == c.want.accepted {
			t.Errorf("%s: error %q", name, got.Error)
		}
		got.Error = ""
		if got.accepted != c.want.accepted || got.final != c.want.final || got.gone != c.want.gone || got.wait != c.want.wait {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
