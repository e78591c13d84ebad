"""Vision-language models as signals need them."""
