"""The flight recorder: every accepted sample block on disk before its sender is told so."""
