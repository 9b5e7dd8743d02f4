"""An agent under faults for hours: ``python -m benchmarks.soak --hours 2 --out docs/results/soak``."""
