"""What is compared, under which load: the options, understood and checked."""
