"""What is noted of a few requests beside them: a slot would cost each of thousands 8 bytes."""
