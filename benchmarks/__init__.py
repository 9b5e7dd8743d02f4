"""Where README's figures come from: one command each, JSON out, exit code 1 when a goal is missed."""
