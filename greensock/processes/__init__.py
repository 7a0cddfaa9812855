"""Other processes: started here so that they cannot outlive it, and what /proc shows of them."""
