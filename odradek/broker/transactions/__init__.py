"""The transaction coordinator: transactional producers, their transactions, and the markers that end those."""
