"""Batched generation from token ids with a random stream for each row.

Imports: errors, stats, models, hooks.
"""
