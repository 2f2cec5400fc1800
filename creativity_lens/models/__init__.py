"""Models: loading, the protocol, chat rendering, batches, identity.

Imports: errors, io.
"""
