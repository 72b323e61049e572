"""Load generators, each a client process of its own, so that no client library is the bottleneck."""
