"""The bundled toy model `builtin:tiny`: its checkpoint, its recipe and the proof that it learns."""
