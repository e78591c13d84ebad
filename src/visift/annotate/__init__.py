"""What only a model behind an endpoint or people can say: conversations for images, ratings."""

from visift.annotate.annotating import annotate
from visift.annotate.endpoint import Endpoint
from visift.annotate.labelling import label
from visift.annotate.outcome import Annotated
from visift.annotate.request import Settings
from visift.annotate.taxonomy import Taxonomy
from visift.annotate.todo import ToAnnotate, read_todo, write_todo

__all__ = [
    "Annotated",
    "Endpoint",
    "Settings",
    "Taxonomy",
    "ToAnnotate",
    "annotate",
    "label",
    "read_todo",
    "write_todo",
]
