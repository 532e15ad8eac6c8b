"""What it takes to run Avoir somewhere."""
