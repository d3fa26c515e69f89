"""Tables out of texts: what models read is held against the source by code, and computed on by code."""
