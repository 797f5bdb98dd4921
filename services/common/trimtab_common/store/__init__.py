"""The record and the journal: one relational database, reached only through `Store`.

The public surface is `Store` (open one with `open_store(url)`), whose `Session`s are short
transactions. State changes are compare-and-set along `domain.lifecycle`; every save that a
notification describes writes its outbox row in the same transaction.
"""
