"""`python -m creativity_lens.cli`."""

from creativity_lens.cli.app import main

main()
