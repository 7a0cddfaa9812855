"""A run of serve_forever: whom it lets in, what becomes of them, and its end."""
