package testfeed

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

func backendOnStatusList() settings.ClientSpec {
	c := testserver.Backend()
	c.StatusList = true
	return c
}

func eachListed(t *testing.T, test func(t *testing.T, d *testserver.Deployment)) {
	testdb.Each(t, func(t *testing.T, url string) {
		test(t, testserver.NewDeployment(t, testserver.Options{DatabaseURL: url}, testserver.WebOnStatusList(), backendOnStatusList()))
	})
}

// statusClaim returns the status list and index in the access token of a response.
func statusClaim(t *testing.T, a *testserver.Answer) (uri string, index int) {
	t.Helper()
	var said struct {
		Status struct {
			List struct {
				Index *int   `json:"idx"`
				URI   string `json:"uri"`
			} `json:"status_list"`
		} `json:"status"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(a.Text("access_token"), ".")[1])
	if err == nil {
		err = json.Unmarshal(payload, &said)
	}
	if err != nil || said.Status.List.Index == nil {
		t.Fatalf("no status: %s, %v", payload, err)
	}
	return said.Status.List.URI, *said.Status.List.Index
}

// statusList is the payload of a status list.
type statusList struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	IssuedAt int64  `json:"iat"`
	Expiry   int64  `json:"exp"`
	TTL      int64  `json:"ttl"`
	List     struct {
		Bits int    `json:"bits"`
		List string `json:"lst"`
	} `json:"status_list"`
}

// listAt reads a list from this node like a verifier.
func listAt(d *testserver.Deployment, path string) (list statusList) {
	d.T.Helper()
	a := d.Want(200, "", d.Get(path))
	if err := json.Unmarshal(d.VerifiedPayload(string(a.Body)), &list); err != nil {
		d.T.Fatal(err)
	}
	return list
}

// status returns the status of a response's session at this node: 0 or 1.
func status(d *testserver.Deployment, a *testserver.Answer) int {
	d.T.Helper()
	uri, index := statusClaim(d.T, a)
	list := listAt(d, strings.TrimPrefix(uri, testserver.Claims(d.T, a)["iss"].(string)))
	if list.Subject != uri {
		d.T.Fatalf("the sub of the list %s is %s", uri, list.Subject)
	}
	return entry(unpacked(d.T, list.List.List), list.List.Bits, index)
}

// entry returns a number of a list whose entries have this many bits (Token Status List
// §4.1).
func entry(list []byte, bits, index int) int {
	return int(list[index*bits/8]>>(index*bits%8)) & (1<<bits - 1)
}

// unpacked decodes a list's member "lst" (Token Status List §4.2).
func unpacked(t *testing.T, lst string) []byte {
	t.Helper()
	compressed, err := base64.RawURLEncoding.Strict().DecodeString(lst)
	if err != nil {
		t.Fatal(err)
	}
	r, err := zlib.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
