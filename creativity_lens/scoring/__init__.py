"""The activation score of a text.

Imports: errors, models, activations, directions.
"""
