"""Random clients whose history is recorded for `odradek check`, and the faults that they live through."""
