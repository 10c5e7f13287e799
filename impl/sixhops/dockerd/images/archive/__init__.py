"""Images as tars: save, load, import."""
