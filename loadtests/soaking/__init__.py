"""What `loadtests.soak` is made of: the servers, their clients, the faults, and who watches."""
