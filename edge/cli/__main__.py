"""`python -m edge.cli` is `edge-agent`."""

from edge.cli import main

main()
