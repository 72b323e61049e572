"""The storage engine beside the limits of the same machine."""
