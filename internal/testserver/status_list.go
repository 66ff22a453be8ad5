package testserver

import (
	"github.com/latchkey/latchkey/settings"
)

// WebOnStatusList is the client web with its sessions on status lists.
func WebOnStatusList() settings.ClientSpec {
	c := Web()
	c.StatusList = true
	return c
}
