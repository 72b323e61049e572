"""What decides whether two brokers' answers agree."""
