"""One module or package per storage technology."""
