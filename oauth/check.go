package oauth

import (
	"strings"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/oauth/issuerkeys"
	"github.com/latchkey/latchkey/settings"
)

// CheckTenants compiles every expression and parses every inline key of a
// configuration. It returns the faults by path, including settings that are
// valid on their own but can never work together.
func CheckTenants(tenants []settings.TenantSpec) settings.Faults {
	var faults settings.Faults
	envs, err := expr.Environments()
	if err != nil {
		faults.Add("tenants", "%v", err)
		return faults
	}
	for _, t := range settings.Located(tenants) {
		compileClasses(envs.Class, t.ACR, t.Path+".acr", &faults)
		for _, issuer := range t.TrustedIssuers {
			path := issuer.Path + "."
			e := issuerEntry{TrustedIssuer: models.TrustedIssuer{Settings: issuer.IssuerSettings}}
			e.compile(&faults, path)
			keys, err := issuerkeys.Parse(issuer.Keys)
			if err != nil {
				faults.Add(path+keysPath(issuer.Keys), "%v", err)
			} else if accepted := acceptedAlgorithms(issuer.IssuerSettings); keys != nil && !keys.SupportAny(accepted) {
				faults.Add(path+"algorithms", "none of the keys is for %s; list the algorithms that sign its tokens", strings.Join(accepted, ", "))
			}
		}
		for _, client := range t.Clients {
			path := client.Path + "."
			if client.Allow != "" {
				if _, err := envs.Allow.Compile(client.Allow, expr.Bool); err != nil {
					faults.Add(path+"allow", "%v", err)
				}
			}
			envs.Claim.CompileMapping(client.Claims, path+"claims", &faults)
		}
	}
	return faults
}

// keysPath returns the path of an entry's inline keys.
func keysPath(k settings.IssuerKeys) string {
	if k.JWKS != nil {
		return "keys.jwks"
	}
	return "keys.pem"
}
