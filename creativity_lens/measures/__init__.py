"""What is measured on a text besides the score.

Imports: errors, models, hooks, activations.
"""
