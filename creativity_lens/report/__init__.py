"""The self-contained HTML report.

Imports: every room's results, and plots.
"""
