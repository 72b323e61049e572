"""Fetch requests: incremental sessions, reads under the limits of a response, and waiting for data."""
