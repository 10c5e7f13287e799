"""From the document to the process inside: checked, planned as operations, carried out by the container's own processes."""
