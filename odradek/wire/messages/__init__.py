"""The declarations of requests, responses, headers and other data, one module per API."""
