"""What is read of a text: span, context, streaming sums, the on-disk store.

Imports: errors, io, models, hooks.
"""
