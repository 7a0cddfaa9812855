"""What `greensock serve` serves: the server's class, its settings, its certificate."""
