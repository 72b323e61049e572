"""What the bare machine does with the same bytes, without a broker."""
