"""Errors, files, settings, provenance: what every other room stands on."""
