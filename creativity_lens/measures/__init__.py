"""What is measured on a text besides the score.

Imports: models, activations.
"""
