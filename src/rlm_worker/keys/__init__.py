"""API keys that are kept in the deployment itself: digests, names, ends; beside those of the secret."""
