"""Conversations for images that have none: written by a model behind an endpoint, or by people."""

from visift.annotate.annotating import annotate
from visift.annotate.endpoint import Endpoint
from visift.annotate.outcome import Annotated
from visift.annotate.request import Settings
from visift.annotate.todo import ToAnnotate, read_todo, write_todo

__all__ = [
    "Annotated",
    "Endpoint",
    "Settings",
    "ToAnnotate",
    "annotate",
    "read_todo",
    "write_todo",
]
