"""Holding selections against each other."""
