"""One way to say to every client library: produce these records, consume those."""
