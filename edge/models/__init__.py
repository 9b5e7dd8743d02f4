"""Changing the model of a running agent: bundles side by side, a canary on live windows, a way back."""
