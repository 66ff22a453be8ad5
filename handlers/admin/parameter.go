package admin

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
)

// checkParameters rejects text that a database cannot store, and a parameter that is
// given twice.
func checkParameters(g *gin.Context) error {
	bad := func(text string) bool { return strings.ContainsRune(text, 0) || !utf8.ValidString(text) }
	query, err := url.ParseQuery(g.Request.URL.RawQuery)
	if err != nil {
		return invalid(Fault{Detail: "the query is not valid"})
	}
	for name, values := range query {
		switch {
		case bad(name):
			return invalid(Fault{Detail: "the query must be UTF-8 without NUL"})
		case len(values) > 1:
			return invalidParameter(name, "is given twice")
		case bad(values[0]):
			return invalidParameter(name, "must be UTF-8 without NUL")
		}
	}
	for _, p := range g.Params {
		if bad(p.Value) {
			return invalidParameter(p.Key, "must be UTF-8 without NUL")
		}
	}
	return nil
}
