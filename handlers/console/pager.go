package console

import "net/url"

// pager has the links between the parts of a list.
type pager struct {
	First string // the beginning; empty: this is it
	Next  string // empty: this is the end
}

// pager returns the links of a list with filters in its URL. next is the cursor of the
// part after this one, or "".
func (v *visit) pager(next string) (p pager) {
	if v.query("cursor") != "" {
		p.First = v.pageAt("")
	}
	if next != "" {
		p.Next = v.pageAt(next)
	}
	return p
}

// pageAt returns the URL of another part of the list. An empty cursor is its beginning.
func (v *visit) pageAt(cursor string) string {
	q := url.Values{}
	for n, values := range v.g.Request.URL.Query() {
		if n != "cursor" && len(values) > 0 && values[0] != "" {
			q.Set(n, values[0])
		}
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	if len(q) == 0 {
		return v.Path
	}
	return v.Path + "?" + q.Encode()
}
