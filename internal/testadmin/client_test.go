package testadmin

import (
	"fmt"
	"slices"
	"testing"
)

func TestClientsAreListedByState(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		const at = "/tenants/acme/clients"
		var off, on []string
		for i := range 7 {
			id := fmt.Sprintf("client-%d", i)
			body := object{"auth": "none", "grants": []string{"token-exchange"}, "disabled": i%2 == 1}
			want(t, 201, d.call(t, d.admin, "PUT", at+"/"+id, body))
			if i%2 == 1 {
				off = append(off, id)
			} else if i != 4 {
				on = append(on, id)
			}
		}
		want(t, 200, d.call(t, d.admin, "POST", at+"/client-4/suspend", nil))
		for state, wanted := range map[string][]string{"disabled": off, "enabled": append(on, "web"), "suspended": {"client-4"}} {
			for _, limit := range []int{1, 2, 50} {
				var ids []string
				for cursor := ""; ; {
					page := want(t, 200, d.call(t, d.viewer, "GET", fmt.Sprintf("%s?state=%s&limit=%d&cursor=%s", at, state, limit, cursor), nil))
					for _, c := range list(page.JSON["items"]) {
						ids = append(ids, c.(object)["id"].(string))
					}
					if len(list(page.JSON["items"])) > limit {
						t.Errorf("a page of %d has %s", limit, page.Body)
					}
					if cursor = page.Text("next_cursor"); cursor == "" {
						break
					}
				}
				if !slices.Equal(ids, wanted) {
					t.Errorf("%s by %d: %v, want %v", state, limit, ids, wanted)
				}
			}
		}
		wantProblem(t, "another state", 400, "invalid_request", d.call(t, d.viewer, "GET", at+"?state=gone", nil, malformed))
	})
}
