"""Several nodes under faults, for minutes: `make faults`."""
