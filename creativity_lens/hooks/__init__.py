"""Capturing and intervening on the residual stream as plain hook functions.

Imports: errors, models.
"""
