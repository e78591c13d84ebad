"""Measuring a signal over many items: store, lab, executors."""
