"""Units that `edge-agent init` writes: copies of deploy/systemd, which a test keeps the same."""
