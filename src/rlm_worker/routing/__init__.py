"""Which models answer, and how a context is read: rules of ops and callers, and the policies that ship."""
