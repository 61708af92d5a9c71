"""The contract: the two resources and their status as frozen, typed values. Imports nothing of ours."""
