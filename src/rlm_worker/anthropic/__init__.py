"""`/v1/messages`: what Anthropic's clients call."""
