"""Entra Access Operator: who may do what on this cluster, and is it still so?

The rooms, and what each may import, are drawn in CONTRIBUTING.md.
"""
