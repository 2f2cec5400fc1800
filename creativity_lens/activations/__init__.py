"""What is read of a text: span, context, streaming sums.

Imports: errors, models, hooks.
"""
