"""Directions: the frozen result, the estimator, extraction, the shipped set.

Imports: errors, io, models, hooks, prompts, generation, activations.
"""
