"""Selections as people hand them over, and where their records stand in a pool."""
