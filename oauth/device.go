package oauth

import (
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// A tenant may choose not to store data about its users' devices. Then no such
// data gets into a session, an event or a response.

// device returns the user agent and the IP address of the call, or nothing if
// the tenant does not store them.
func (call *Call) device() (userAgent, ip string) {
	if !call.Tenant.row.StoreDevice {
		return "", ""
	}
	return call.UserAgent, call.IP
}

// withDevice adds the device of the call to the details of an event and, if
// last is a session, the device of its last use.
func (call *Call) withDevice(details map[string]any, last *models.Session) map[string]any {
	if !call.Tenant.row.StoreDevice {
		return details
	}
	details["ip"], details["user_agent"] = call.IP, call.UserAgent
	if last != nil {
		details["last_ip"], details["last_user_agent"] = last.IP, last.UserAgent
	}
	return details
}

// fromElsewhere reports whether the call's IP address or user agent differs
// from that of the session's last use. It returns false if the last use is not
// known.
func (call *Call) fromElsewhere(last *models.Session) bool {
	known := call.Tenant.row.StoreDevice && (last.IP != "" || last.UserAgent != "")
	return known && (call.IP != last.IP || call.UserAgent != last.UserAgent)
}

// otherDevice reports whether both the network and the product of the call
// differ from those of the session's last use.
func (call *Call) otherDevice(last *models.Session) bool {
	return call.Tenant.row.StoreDevice && session.OtherDevice(
		session.Device{IP: last.IP, UserAgent: last.UserAgent}, session.Device{IP: call.IP, UserAgent: call.UserAgent})
}

// device returns what may be shown of a session's device. A row may still
// contain more until it is cleared.
func (t *Tenant) device(row *models.Session) deviceObject {
	if !t.row.StoreDevice {
		return deviceObject{}
	}
	return deviceObject{row.DeviceName, row.UserAgent, row.IP}
}
