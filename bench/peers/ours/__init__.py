"""authorid itself, in the environment that runs the benchmark."""
