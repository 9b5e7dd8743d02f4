"""How results leave: a bounded spool for each sink, and a runner that retries. Sinks themselves are dumb."""
