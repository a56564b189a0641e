"""One module for each layout in which people have a data set on disk."""
