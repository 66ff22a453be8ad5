package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// briefPrinter writes one line for each request, with the essence of the request
// and the response. It numbers refresh tokens in the order in which they appear, so
// that the reader sees which one is sent again.
type briefPrinter struct {
	out     io.Writer
	color   bool
	refresh map[string]int
}

func (p *briefPrinter) printf(format string, args ...any) { fmt.Fprintf(p.out, format, args...) }

func (p *briefPrinter) note(text string) { p.printf("   %s\n", text) }

func (p *briefPrinter) begin(issuer string) { p.printf("Serving %s\n", p.paint(bold, issuer)) }

func (p *briefPrinter) step(number int, s step) {
	p.printf("\n%s%s\n   %s\n", p.paint(bold, fmt.Sprintf("%d. %s", number, s.title)), p.paint(s.tone.ink(), s.tone.suffix()), s.say)
}

// implied lists parameters that are left out, because the others imply them.
var implied = map[string]bool{"grant_type": true, "client_id": true, "subject_token_type": true, "latchkey_device_name": true}

func (p *briefPrinter) answer(w *walker, s step, status int, text string) {
	line := s.method() + " " + s.path
	for _, f := range s.form {
		if !implied[f[0]] {
			line += " " + f[0] + "=" + p.short(w.value(f[1]))
		}
	}
	p.printf("   %s → %s\n", line, strings.TrimSpace(fmt.Sprintf("%d %s", status, p.outcome(s, text))))
}

// outcome returns the essence of a response.
func (p *briefPrinter) outcome(s step, text string) string {
	if s.plain {
		return p.short(text)
	}
	var a struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Active  *bool  `json:"active"`
		Error   string `json:"error"`
		Reason  string `json:"latchkey_reason"`
	}
	if json.Unmarshal([]byte(text), &a) != nil { // an empty body, or another document
		return ""
	}
	switch {
	case a.Error != "":
		return a.Error + ", " + p.paint(s.tone.ink(), a.Reason)
	case a.Active != nil:
		return fmt.Sprintf("active=%t", *a.Active)
	case a.Refresh != "":
		return "access_token=" + p.short(a.Access) + " refresh_token=" + p.short(a.Refresh)
	}
	return ""
}

const refreshPrefix = "lk_rt_"

// short returns enough of a token to distinguish it from the others.
func (p *briefPrinter) short(value string) string {
	end := value[max(0, len(value)-4):]
	switch {
	case strings.HasPrefix(value, refreshPrefix):
		if p.refresh[value] == 0 {
			p.refresh[value] = len(p.refresh) + 1
		}
		return fmt.Sprintf("%s…%s[%d]", refreshPrefix, end, p.refresh[value])
	case strings.HasPrefix(value, "eyJ"):
		return "eyJ…" + end
	}
	return value
}

func (p *briefPrinter) claims(_, payload []byte) {
	var c struct {
		Sub  string
		Aud  any
		ACR  string
		Plan string
		Exp  int64
		IAT  int64
	}
	if json.Unmarshal(payload, &c) == nil {
		p.note(fmt.Sprintf("The access token contains sub=%s aud=%v acr=%s plan=%s, and is valid for %d s.", c.Sub, c.Aud, c.ACR, c.Plan, c.Exp-c.IAT))
	}
}

func (p *briefPrinter) end(issuer string) {
	p.printf("\n%s\n", p.paint(bold, "Next"))
	writeNext(p.out, issuer)
	p.printf("   --verbose prints every request and response in full. Ctrl-C stops the server.\n\n")
}

// writeNext suggests what to do with the running server.
func writeNext(out io.Writer, issuer string) {
	example := "go run ./examples/app"
	if issuer != defaultDevIssuer {
		example += " -issuer " + issuer
	}
	fmt.Fprintf(out, `   Open the start page in a browser: %[1]s/
   Run the example app, with a list of devices and step-up (from a clone of the repository):
  $ %[3]s
   Get a client token for anyone, with any claims:
  $ curl -s %[1]s/dev/client-token -d sub=bob -d amr=pwd -d 'claims={"plan": "gold"}'
   To write your own app, read "Integrate an app" in README.md.
   Public client: demo-web. Secret client: demo-api, secret %[2]s
`, issuer, demoSecret, example)
}

// ink is an ECMA-48 color code; 0 means none.
type ink int

const (
	bold   ink = 1
	red    ink = 31
	green  ink = 32
	yellow ink = 33
)

func (p *briefPrinter) paint(i ink, text string) string {
	if !p.color || i == 0 || text == "" {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", i, text)
}

func (t tone) ink() ink { return [...]ink{0, green, yellow, red}[t] }

// suffix returns the text after the title of a step.
func (t tone) suffix() string {
	return [...]string{"", ": harmless", ": rejected, but harmless", ": theft"}[t]
}

// colored reports whether out is a terminal whose user wants colors
// (https://no-color.org).
func colored(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
