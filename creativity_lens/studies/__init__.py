"""Declared runs that answer a question end to end.

Imports: every room before it.
"""
