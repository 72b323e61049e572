"""The requests that sequences are made of, by family. Importing this registers all of them."""

from tests.differential.operations import admin, consumers, data, groups, topics, transactions
from tests.differential.operations.registry import OPERATIONS

__all__ = ["OPERATIONS", "admin", "consumers", "data", "groups", "topics", "transactions"]
