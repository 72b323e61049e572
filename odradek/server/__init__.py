"""Requests, from frame to reply: what brokers and controllers do the same way before and after their handlers."""
