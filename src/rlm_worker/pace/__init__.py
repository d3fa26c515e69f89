"""One pace for the account: leave to send to a model, shared by all runs of a deployment."""
