package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
)

// fieldFunction extracts a member of a JSON response in any POSIX shell.
const fieldFunction = `field() { sed -nE 's/.*"'"$1"'":"([^"]+)".*/\1/p'; }`

// fullPrinter writes each request as a shell command that repeats it, and each
// response in full.
type fullPrinter struct {
	out   io.Writer
	shown map[int]int // printed responses by status
}

func (p *fullPrinter) printf(format string, args ...any) { fmt.Fprintf(p.out, format, args...) }

func (p *fullPrinter) shell(line string) { p.printf("  $ %s\n", line) }

func (p *fullPrinter) note(text string) { p.printf("   %s\n", text) }

func (p *fullPrinter) begin(issuer string) {
	p.printf("Serving %s. You can paste every line that begins with $ into a shell.\n\n", issuer)
	p.shell(fieldFunction)
}

func (p *fullPrinter) step(number int, s step) {
	p.printf("\n%d. %s%s\n   %s\n", number, s.title, s.tone.suffix(), s.say)
}

func (p *fullPrinter) answer(w *walker, s step, status int, text string) {
	line := "curl -s " + w.issuer + s.path
	if s.basic != "" {
		line += " -u " + s.basic
	}
	if s.plain {
		line += " -H 'Accept: text/plain'"
	}
	for _, f := range s.form {
		line += ` --data-urlencode "` + f[0] + "=" + f[1] + `"`
	}
	if s.save != "" {
		line = s.save + "=$(" + line + ")"
	}
	p.shell(line)
	for _, f := range s.fields {
		p.shell(f[0] + `=$(echo "$` + s.save + `" | field ` + f[1] + `)`)
	}
	p.body(status, text)
}

var longToken = regexp.MustCompile(`(eyJ[\w-]{20})[\w-]*\.[\w.-]+([\w-]{10})`)

// body writes a response, indented. After the first two responses with a status it
// shortens tokens.
func (p *fullPrinter) body(status int, text string) {
	if p.shown[status] > 1 {
		text = longToken.ReplaceAllString(text, "$1…$2")
	}
	p.shown[status]++
	p.printf("  %d %s\n", status, indented([]byte(text)))
}

func (p *fullPrinter) claims(header, payload []byte) {
	p.note("The access token contains:")
	p.printf("  %s\n  %s\n", indented(header), indented(payload))
}

func (p *fullPrinter) end(issuer string) {
	p.printf("\n")
	writeNext(p.out, issuer)
	p.printf("\nThe demo issuer is %s/client-tokens. Ctrl-C stops the server.\n\n", issuer)
}

// indented returns a JSON document with indentation, and any other text unchanged.
func indented(text []byte) []byte {
	var pretty bytes.Buffer
	if json.Indent(&pretty, text, "  ", "  ") != nil {
		return text
	}
	return pretty.Bytes()
}
