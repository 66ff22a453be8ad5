package oauth

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// prefers reports whether the caller prefers a media type to JSON. A caller
// without a preference gets JSON (RFC 9110 §12.5.1).
func prefers(r *http.Request, other string) bool {
	given := weights(r.Header.Values("Accept"))
	return given[other] > max(given["application/json"], given["application/*"], given["*/*"])
}

// quality returns the weight that header fields such as Accept give to the
// first of the names that they mention. The most specific name comes first. The
// weight is 0 if they mention none of them (RFC 9110 §12.4.2).
func quality(fields []string, names ...string) float64 {
	given := weights(fields)
	for _, name := range names {
		if q, mentioned := given[name]; mentioned {
			return q
		}
	}
	return 0
}

// weights returns the weight that such fields give to each name. It skips items
// that it cannot parse.
func weights(fields []string) map[string]float64 {
	given := map[string]float64{}
	for _, item := range strings.Split(strings.Join(fields, ","), ",") {
		name, params, err := mime.ParseMediaType(item)
		if err != nil {
			continue
		}
		q := 1.0
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		given[name] = max(given[name], q)
	}
	return given
}
