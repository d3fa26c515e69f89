"""OpenAI's shape: chat completions and models, translated to and from runs."""
