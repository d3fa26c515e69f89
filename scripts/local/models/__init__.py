"""What stands behind the AI binding on this machine: real models, scripted ones, or a server elsewhere."""
