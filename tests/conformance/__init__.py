"""Runs tests/compat with several versions of the clients on several brokers, and writes down what came of it.

`python -m tests.conformance --target odradek` is what `odradek conformance` starts in a checkout.
"""
