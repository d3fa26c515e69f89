"""Parts by themselves on CPython, over the public doubles."""
