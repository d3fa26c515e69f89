"""Strategy `table`: models read rows, code computes the answer from them."""
