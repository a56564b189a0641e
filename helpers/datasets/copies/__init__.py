"""Copies of published data sets: their index, how to download them, how to verify them."""
