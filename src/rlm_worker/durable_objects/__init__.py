"""Sessions, accounts and batches as Durable Objects, and calls to them over RPC."""
