"""Microsoft Entra ID, Microsoft Graph and Azure role assignments on one machine.

One process answers over HTTPS as the real services do: sign-in (OpenID discovery, keys, tokens), Graph v1.0,
Azure Resource Manager's Microsoft.Authorization, and the sign-in webhook of an AKS cluster. See the README
beside the package.
"""
