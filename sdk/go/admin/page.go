package admin

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// Page is one page of a list.
type Page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor,omitempty"` // empty on the last page
}

// ListQuery selects items of a list. The zero value selects all.
type ListQuery struct {
	Query  string // part of the id or the name
	State  string // of clients only: enabled, disabled or suspended
	Limit  int    // items on a page, at most 500; default 50
	Cursor string // NextCursor of the previous page
}

func (q ListQuery) values() url.Values {
	v := pageValues(q.Limit, q.Cursor)
	setParam(v, "q", q.Query)
	setParam(v, "state", q.State)
	return v
}

func pageValues(limit int, cursor string) url.Values {
	v := url.Values{}
	if limit != 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	setParam(v, "cursor", cursor)
	return v
}

// setParam sets a parameter unless its value is empty.
func setParam(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}

func setTimeParam(v url.Values, name string, t time.Time) {
	if !t.IsZero() {
		v.Set(name, t.UTC().Format(time.RFC3339Nano))
	}
}

// getPage reads one page.
func getPage[T any](ctx context.Context, c *connection, path []string, query url.Values) (*Page[T], error) {
	page := &Page[T]{}
	_, err := c.call(ctx, request{method: http.MethodGet, path: path, query: query, repeat: true}, nil, page)
	if err != nil {
		return nil, err
	}
	return page, nil
}

// allPages returns every item of a list, page by page. An error ends the sequence.
func allPages[T any](ctx context.Context, c *connection, path []string, query url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		at := url.Values{}
		for name, values := range query {
			at[name] = values
		}
		for {
			page, err := getPage[T](ctx, c, path, at)
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			switch page.NextCursor {
			case "":
				return
			case at.Get("cursor"):
				yield(none, fmt.Errorf("%w: the list does not advance: next_cursor of a page is the cursor of the same page", latchkey.ErrUnavailable))
				return
			}
			at.Set("cursor", page.NextCursor)
		}
	}
}
