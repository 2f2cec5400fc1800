"""The activation score of a text.

Imports: errors, stats, models, activations, directions.
"""
