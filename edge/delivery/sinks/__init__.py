"""Where results go: one transport per file. A sink writes or raises; the runner retries."""
