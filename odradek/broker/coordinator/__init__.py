"""The runtime that all coordinators share: one state machine per partition of an internal topic, fed by its log."""
