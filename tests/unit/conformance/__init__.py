"""What docs/conformance.md is written from."""
