"""The Worker's own routes, and what stands before all routes: keys, limits, CORS, errors, the OpenAPI document."""
