"""What is measured on a text besides the score.

Imports: errors, stats, models, activations.
"""
