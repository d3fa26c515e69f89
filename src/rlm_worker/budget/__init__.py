"""Money: the ledger of a run, the account of a key, and what goes between them."""
