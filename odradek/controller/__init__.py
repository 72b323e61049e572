"""The active controller's decisions: from state and request to records and a response."""
