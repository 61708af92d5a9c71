"""The only rooms that know an SDK: Microsoft Graph, Azure Resource Manager, Kubernetes, and signing in."""
