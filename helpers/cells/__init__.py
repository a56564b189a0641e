"""One cell measured: its outline, nucleus and cytoplasm, its shape, texture and colour."""
