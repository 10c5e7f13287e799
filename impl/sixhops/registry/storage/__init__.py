"""Blobs, manifests, tags, uploads and who refers to whom, as files that are whole or absent."""
