"""The networks of the course, one module per architecture, and their pretrained weights."""
