"""The command line: calls the rooms; no room calls it.

`main` is the entry point. Errors raised on purpose end as one sentence on stderr and exit code 2.
"""

from creativity_lens.cli.app import main

__all__ = ["main"]
