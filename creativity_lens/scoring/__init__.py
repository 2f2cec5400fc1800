"""The activation score of a text, and its variants.

Imports: errors, io, stats, models, hooks, activations, directions.
"""
