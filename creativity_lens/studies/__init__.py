"""Declared runs that answer a question end to end."""
