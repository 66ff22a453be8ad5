package testserver

import (
	"github.com/latchkey/latchkey/models"
)

// WebOnStatusList is the client web with its sessions on status lists.
func WebOnStatusList() models.ClientSpec {
	c := Web()
	c.StatusList = true
	return c
}
