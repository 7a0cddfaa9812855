"""What a command line says: the target it names, the settings in it, its user's mistakes."""
