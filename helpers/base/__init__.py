"""Errors, files, settings, provenance: used by every other room."""
