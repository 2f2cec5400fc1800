"""`python -m creativity_lens`."""

from creativity_lens.cli.app import main

main()
