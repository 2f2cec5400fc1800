"""Premises, contrast pairs and instructions; what the model is asked.

Imports: errors, io, stats.
"""
