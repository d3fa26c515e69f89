"""The Worker's own routes: one table of operations, their handlers, keys, CORS, and the OpenAPI document."""
