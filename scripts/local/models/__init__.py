"""What answers behind the AI binding: the local models, and the stand-in that calls them."""
