"""The group coordinator: classic groups and committed offsets, as state machines over `__consumer_offsets`."""
