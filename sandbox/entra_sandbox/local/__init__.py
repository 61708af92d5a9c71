"""A real Kubernetes control plane on one machine, without containers: programs, processes, certificates."""
