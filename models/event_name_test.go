package models

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/session"
)

// quoted matches text between backquotes.
var quoted = regexp.MustCompile("`([^`]+)`")

// rowsBelow are the cells of the table of docs/errors.md whose head begins with
// the given cell.
func rowsBelow(t *testing.T, head string) (rows [][]string) {
	t.Helper()
	page, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "\n| "+head+" |")
	if !found {
		t.Fatalf("docs/errors.md has no table of %s", head)
	}
	for i, line := range strings.Split(table, "\n") {
		if i > 0 && !strings.HasPrefix(line, "|") {
			return rows
		}
		if i > 1 { // the head, and the line below it
			rows = append(rows, strings.Split(strings.Trim(line, "|"), "|"))
		}
	}
	return rows
}

// declared are the stored types that event.go has.
func declared(t *testing.T) (types []EventType) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, is := n.(*ast.ValueSpec)
		if !is || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Event") {
			return true
		}
		if literal, is := spec.Values[0].(*ast.BasicLit); is && literal.Kind == token.STRING {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			types = append(types, EventType(value))
		}
		return true
	})
	return types
}

func TestEveryStoredTypeHasAnOutwardName(t *testing.T) {
	types := declared(t)
	for _, stored := range types {
		if _, has := eventNames[stored]; !has {
			t.Errorf("%s has no row in eventNames", stored)
		}
	}
	if len(types) < 30 || len(types) != len(eventNames) {
		t.Errorf("event.go declares %d types, and eventNames has %d", len(types), len(eventNames))
	}
}

func TestTheDocumentAndTheCodeNameEventsAlike(t *testing.T) {
	documented := map[EventType]string{}
	for _, row := range rowsBelow(t, "stored type") {
		outward := ""
		if name := quoted.FindStringSubmatch(row[1]); name != nil {
			outward = name[1]
		} else if strings.TrimSpace(row[1]) != "none" {
			t.Errorf("the outward type %q of %s is neither a name nor none", row[1], row[0])
		}
		for _, stored := range quoted.FindAllStringSubmatch(row[0], -1) {
			if _, twice := documented[EventType(stored[1])]; twice {
				t.Errorf("docs/errors.md has %s twice", stored[1])
			}
			documented[EventType(stored[1])] = outward
			if why := strings.Trim(row[2], " `"); outward == "" && why != string(wholeEnds[EventType(stored[1])]) {
				t.Errorf("%s is the end of all sessions for the reason %q, but docs/errors.md has %q", stored[1], wholeEnds[EventType(stored[1])], why)
			}
			if beside := strings.Contains(row[1], "session_ended"); beside != eventNames[EventType(stored[1])].countedAsEnd {
				t.Errorf("docs/errors.md has %s as written with session_ended: %t", stored[1], beside)
			}
			if beside := eventNames[EventType(stored[1])]; beside.countedAsEnd && beside.outward != "session.ended."+strings.Trim(row[2], " `") {
				t.Errorf("%s is %s outward, but its end reason is %s", stored[1], beside.outward, row[2])
			}
		}
	}
	for stored, name := range eventNames {
		if outward, has := documented[stored]; !has || outward != name.outward {
			t.Errorf("%s is %q outward, but docs/errors.md has %q (it has a row: %t)", stored, name.outward, outward, has)
		}
	}
	for stored := range maps.Keys(documented) {
		if _, has := eventNames[stored]; !has {
			t.Errorf("docs/errors.md has %s, which is no stored type", stored)
		}
	}
}

func TestTheDocumentHasEveryEndReason(t *testing.T) {
	var documented []string
	for _, row := range rowsBelow(t, "end reason") {
		for _, why := range quoted.FindAllStringSubmatch(row[0], -1) {
			documented = append(documented, why[1])
		}
	}
	var reasons []string
	for _, why := range session.EndReasons {
		reasons = append(reasons, string(why))
	}
	slices.Sort(documented)
	slices.Sort(reasons)
	if !slices.Equal(documented, reasons) {
		t.Errorf("docs/errors.md has the end reasons %v, the code %v", documented, reasons)
	}
}

func TestAnEndedSessionIsNamedByItsReason(t *testing.T) {
	for reason, want := range map[any]string{
		session.SignedOut: "session.ended.signed_out",
		session.Revoked:   "session.ended.revoked_by_backend", // of an earlier release
		"idle":            "session.ended.idle",
	} {
		e := Event{Type: EventSessionEnded, Details: map[string]any{"reason": reason}}
		if got := e.Outward(); got != want {
			t.Errorf("%v: %s, want %s", reason, got, want)
		}
	}
	if got := (Event{Type: EventChainMismatch}).Outward(); got != "chain_mismatch" {
		t.Errorf("an event without an outward type is counted as %s", got)
	}
}
