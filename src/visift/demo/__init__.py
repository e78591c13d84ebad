"""A seeded pool with planted structure, for demonstrations and tests."""

from visift.demo.generator import DemoPool, write_demo_pool

__all__ = ["DemoPool", "write_demo_pool"]
