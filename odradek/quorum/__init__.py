"""KRaft: the metadata log's owner (KIP-595, KIP-630, KIP-853), as a state machine over a log that is passed in."""
