package oauth

import (
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// A tenant may have nothing stored of its users' devices: then nothing of them
// gets into a session, an event or an answer.

// device is where the call comes from, as far as it may be stored.
func (call *Call) device() (userAgent, ip string) {
	if !call.Tenant.row.StoreDevice {
		return "", ""
	}
	return call.UserAgent, call.IP
}

// withDevice adds to an event where the call comes from and, if a session is given,
// where its last use came from.
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

// elsewhere says whether the call comes from another device than the session's
// last use. Where one of the two is not known there is nothing to compare.
func (call *Call) fromElsewhere(last *models.Session) bool {
	known := call.Tenant.row.StoreDevice && (last.IP != "" || last.UserAgent != "")
	return known && (call.IP != last.IP || call.UserAgent != last.UserAgent)
}

// otherDevice reports whether the call comes from both another network and
// another product than the session's last use.
func (call *Call) otherDevice(last *models.Session) bool {
	return call.Tenant.row.StoreDevice && session.OtherDevice(
		session.Device{IP: last.IP, UserAgent: last.UserAgent}, session.Device{IP: call.IP, UserAgent: call.UserAgent})
}

// device is what may be shown of a session's device. Its row may still say more,
// until it is cleared.
func (t *Tenant) device(row *models.Session) deviceObject {
	if !t.row.StoreDevice {
		return deviceObject{}
	}
	return deviceObject{row.DeviceName, row.UserAgent, row.IP}
}
