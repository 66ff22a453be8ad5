package console

import "strings"

// navItem is an entry of the navigation.
type navItem struct {
	Name string
	Icon string
	Href string
	Here bool

	page      string // below the tenant; empty: Name is the heading of a group
	operation string // the operation of the admin API that the role must include
}

// navigation lists the entries in their order.
var navigation = []navItem{
	{Name: "Overview", Icon: "overview", page: "overview", operation: "get-stats"},
	{Name: "Sessions", Icon: "session", page: "sessions", operation: "list-sessions"},
	{Name: "Users", Icon: "user", page: "users", operation: "list-users"},
	{Name: "Events", Icon: "event", page: "events", operation: "list-events"},
	{Name: "Configure"},
	{Name: "Clients", Icon: "client", page: "clients", operation: "list-clients"},
	{Name: "Trusted issuers", Icon: "issuer", page: "issuers", operation: "list-trusted-issuers"},
	{Name: "Event destinations", Icon: "destination", page: "destinations", operation: "list-event-destinations"},
	{Name: "Keys", Icon: "key", page: "keys", operation: "list-signing-keys"},
	{Name: "Try"},
	{Name: "Explain", Icon: "explain", page: "explain", operation: "explain"},
	{Name: "Playground", Icon: "playground", page: "playground", operation: "mint-client-token"},
	{Name: "Server"},
	{Name: "Settings", Icon: "settings", page: "settings", operation: "get-tenant"},
}

// navigation returns what the role may open. The heading of an empty group is left out.
func (v *visit) navigation() (list []navItem) {
	if v.Tenant == "" {
		return nil
	}
	for _, item := range navigation {
		if item.page == "" {
			if n := len(list); n > 0 && list[n-1].page == "" {
				list = list[:n-1]
			}
			list = append(list, item)
			continue
		}
		if !v.May(item.operation) {
			continue
		}
		item.Href = v.at(item.page)
		item.Here = v.Path == item.Href || strings.HasPrefix(v.Path, item.Href+"/")
		list = append(list, item)
	}
	if n := len(list); n > 0 && list[n-1].page == "" {
		list = list[:n-1]
	}
	return list
}
