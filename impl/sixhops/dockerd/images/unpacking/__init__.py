"""A layer's bytes on their way in: verified, decompressed, unpacked, and what is kept to put its tar together again."""
