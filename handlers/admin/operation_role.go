package admin

import (
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/latchkey/latchkey/models"
)

// rolesExtension is the member of an operation in the document that lists the roles
// which may call it.
const rolesExtension = "x-latchkey-roles"

// operationRoles lists the roles that may call each operation. It is for the document
// and for the pages of the console: the operations themselves check the role.
var operationRoles = map[string]roles{
	"list-tenants": everyone, "get-tenant": everyone, "put-tenant": owners, "patch-tenant": owners, "delete-tenant": owners,
	"suspend-tenant": owners, "resume-tenant": owners,
	"list-clients": everyone, "get-client": everyone, "put-client": admins, "patch-client": admins, "delete-client": admins,
	"new-client-secret": admins, "preview-client": admins, "suspend-client": admins, "resume-client": admins,
	"list-trusted-issuers": everyone, "get-trusted-issuer": everyone, "put-trusted-issuer": admins, "patch-trusted-issuer": admins,
	"delete-trusted-issuer": admins, "check-trusted-issuer": admins, "suspend-trusted-issuer": admins, "resume-trusted-issuer": admins,
	"list-users": everyone, "get-user": everyone, "put-user": admins, "patch-user": admins, "delete-user": admins,
	"end-user-sessions": support, "suspend-user": support, "resume-user": support, "mint-client-token": admins,
	"list-sessions": everyone, "get-session": everyone, "export-sessions": admins, "end-session": support, "end-sessions": support,
	"patch-session": admins, "extend-session": admins,
	"list-signing-keys": readers, "rotate-signing-key": admins, "retire-signing-key": admins,
	"list-events": readers, "follow-events": readers, "list-deployment-events": owners, "get-stats": readers, "list-nodes": readers,
	"list-event-destinations": readers, "get-event-destination": readers, "put-event-destination": admins,
	"patch-event-destination": admins, "delete-event-destination": admins, "new-event-destination-secret": admins,
	"enable-event-destination": admins, "test-event-destination": admins, "list-deliveries": readers, "redeliver": admins,
	"get-self": everyone, "list-admin-keys": owners, "create-admin-key": owners, "revoke-admin-key": owners,
	"list-suspensions": everyone, "explain": support, "apply": admins, "export": admins,
}

// names returns the roles as the document lists them.
func (r roles) names() []string {
	list := []string{}
	for _, role := range []models.Role{models.RoleOwner, models.RoleAdmin, models.RoleSupport, models.RoleViewer} {
		for _, has := range r {
			if has == role {
				list = append(list, string(role))
			}
		}
	}
	return list
}

// describeRoles adds the roles that may call an operation to the document.
func describeRoles(op *huma.Operation) {
	if op.Extensions == nil {
		op.Extensions = map[string]any{}
	}
	op.Extensions[rolesExtension] = operationRoles[op.OperationID].names()
}

// MayCall reports whether the role of the caller's key includes an operation, which
// operationRoles names. The operation itself checks the tenant, too.
func (c *Caller) MayCall(operation string) bool {
	who, known := operationRoles[operation]
	return known && slices.Contains(who, c.Key.Role)
}
