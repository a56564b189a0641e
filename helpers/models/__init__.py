"""The networks of the course, one module an architecture."""

#: One sentence for each pretrained backbone that this process used, for the page's banner.
WEIGHTS_USED: list[str] = []
