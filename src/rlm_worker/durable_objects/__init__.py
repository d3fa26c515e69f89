"""Sessions, accounts and batches as Durable Objects: their methods over RPC, and the calls to them."""
