"""The web app: upload a cell, see the answer and its reasons, verify it, keep it."""
