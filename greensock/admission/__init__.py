"""Who is let in, and what becomes of whoever is not."""
