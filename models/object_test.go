package models_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
)

func TestParseObject(t *testing.T) {
	type object = map[string]any
	for text, want := range map[string]object{
		`{}`:                            {},
		` { "a" : "b" } `:               {"a": "b"},
		`{"a": 9007199254740993}`:       {"a": int64(1<<53 + 1)},
		`{"a": 9223372036854775807}`:    {"a": int64(1<<63 - 1)},
		`{"a": -9223372036854775808}`:   {"a": int64(-1 << 63)},
		`{"a": 9223372036854775808}`:    {"a": float64(1 << 63)},
		`{"a": 12345678901234567000}`:   {"a": 12345678901234567e3}, // as encoding/json writes a float
		`{"a": 1.0}`:                    {"a": float64(1)},
		`{"a": 1e3}`:                    {"a": float64(1000)},
		`{"a": [1, {"b": [2, 2.5]}]}`:   {"a": []any{int64(1), object{"b": []any{int64(2), 2.5}}}},
		`{"a": null, "b": true}`:        {"a": nil, "b": true},
		`{"a": "\u0000"}`:               {"a": "\x00"},
		`{"a": 1, "a": 2}`:              {"a": int64(2)},
		"{\"a\": \"\xff\"}":             {"a": "\ufffd"},
		`{"a": 1e-400}`:                 {"a": float64(0)},
		`{"a": 0.10000000000000000555}`: {"a": 0.1},
	} {
		t.Run(text, func(t *testing.T) {
			if got, err := models.ParseObject([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("is %#v, %v; want %#v", got, err, want)
			}
		})
	}
	for _, text := range []string{"", "null", "[]", `"a"`, "1", "{", `{"a":}`, `{} {}`, `{}x`, `{"a": 01}`, `{'a': 1}`, `{"a": 1e400}`, `{"a": [{"b": -1e999}]}`} {
		t.Run("rejects "+text, func(t *testing.T) {
			if got, err := models.ParseObject([]byte(text)); err == nil {
				t.Errorf("is %#v", got)
			}
		})
	}
}

func TestTimeKeepsMicrosecondsInUTC(t *testing.T) {
	zone := time.FixedZone("east", 3600)
	precise := time.Date(2026, 3, 1, 13, 0, 0, 123456789, zone)
	want := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	if got := models.At(precise); got.Time != want {
		t.Errorf("%v is kept as %v", precise, got)
	}
	for name, moment := range map[string]time.Time{"now": want, "1970": time.Unix(0, 0).UTC(), "before": time.Unix(-1, 0).UTC(), "far": time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		value, err := models.At(moment).Value()
		must(t, err)
		var back models.Time
		must(t, back.Scan(value))
		if back.Time != moment {
			t.Errorf("%s: %v reads back as %v", name, moment, back)
		}
	}
}

func TestTheZeroTimeIsNULL(t *testing.T) {
	for name, zero := range map[string]models.Time{"the zero Time": {}, "the zero time": models.At(time.Time{})} {
		if value, err := zero.Value(); value != nil || err != nil {
			t.Errorf("%s is stored as %v, %v", name, value, err)
		}
	}
	back := models.At(start)
	if err := back.Scan(nil); err != nil || !back.IsZero() {
		t.Errorf("NULL reads as %v, %v", back, err)
	}
	for _, strange := range []any{"2026-03-01", 1.5, start, []byte("1"), true} {
		if err := back.Scan(strange); err == nil {
			t.Errorf("%T passes for a moment", strange)
		}
	}
}
