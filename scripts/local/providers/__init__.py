"""Stand-ins of Anthropic's and OpenAI's servers on loopback: documented shapes, errors and bills, scripted answers."""
