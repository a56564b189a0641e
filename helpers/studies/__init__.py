"""Several models or papers side by side, each judged in the same way."""
