"""One trial of a contender under load, and the order of them all."""
