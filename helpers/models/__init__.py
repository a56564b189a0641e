"""The networks of the course, one module an architecture, and their pretrained weights."""
