"""Classic groups: members agree on a generation, their leader assigns."""
