"""What every request passes: who may see the pages, what a browser may do with them, forms, and the live stream."""
